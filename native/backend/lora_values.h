// The values of low-rank factors in their dtype, as every backend holds them, and the checks of them.
#pragma once

#include <algorithm>
#include <string>

#include "backend/matrix_rows.h"
#include "core/error.h"
#include "core/float16.h"
#include "quant/int8.h"

namespace lowrank {

// Above any real adapter's; bounds what one tensor can ask for.
inline constexpr int32_t kMaxLoraRank = 1 << 13;

inline void check_factor_shape(int32_t rank, int32_t dimension) {
  check_bound(rank, kMaxLoraRank, "the rank of a LoRA factor");
  check_bound(dimension, kMaxMatrixRows, "the size of a LoRA factor");
}

[[noreturn]] inline void throw_factor_not_finite() {
  throw Error(ErrorCode::kAdapterFormat,
              "Expected finite numbers for the weights of an adapter, received NaN or infinity.");
}

[[noreturn]] inline void throw_factor_not_int8() {
  throw Error(ErrorCode::kInvalidArgument, "Expected integers from -127 to 127 for an int8 factor, received other numbers.");
}

// Stores x[i] as element at(i) of `out`, of `dtype`. bfloat16 rounds to nearest even. Throws Error: kAdapterFormat for values
// that are not finite in the dtype, kInvalidArgument for int8 ones that are no integers from -127 to 127. The checks come after
// the loops, which compilers then vectorise.
template <class At>
void store_factor(LoraDType dtype, const float* x, size_t count, void* out, At at) {
  switch (dtype) {
    case LoraDType::kBFloat16: {
      uint32_t largest = 0;
      auto* values = static_cast<uint16_t*>(out);
      for (size_t i = 0; i < count; ++i) {
        const uint16_t rounded = float32_to_bfloat16(x[i]);
        largest = std::max(largest, static_cast<uint32_t>(rounded & 0x7fffu) << 16);
        values[at(i)] = rounded;
      }
      if (largest >= kInfinityBits) throw_factor_not_finite();
      return;
    }
    case LoraDType::kFloat32: {
      auto* values = static_cast<float*>(out);
      for (size_t i = 0; i < count; ++i)
        values[at(i)] = x[i];
      if (max_magnitude_bits(x, static_cast<int64_t>(count)) >= kInfinityBits) throw_factor_not_finite();
      return;
    }
    case LoraDType::kInt8: {
      if (max_magnitude_bits(x, static_cast<int64_t>(count)) > magnitude_bits(kInt8Max)) throw_factor_not_int8();
      auto* values = static_cast<int8_t*>(out);
      bool whole = true;
      for (size_t i = 0; i < count; ++i) {
        const int32_t q = round_half_even(x[i]);
        whole = whole && static_cast<float>(q) == x[i];
        values[at(i)] = static_cast<int8_t>(q);
      }
      if (!whole) throw_factor_not_int8();
      return;
    }
  }
}

}  // namespace lowrank
