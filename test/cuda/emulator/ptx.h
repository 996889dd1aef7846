// The wrappers of cuda/ptx.h, emulated. Included from there; the fragment layouts stand there.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/float16.h"
#include "emulator/cuda_runtime.h"

namespace lowrank::emulator {

struct MmaS8Operand {
  int32_t* d;
  const uint32_t* a;
  const uint32_t* b;
};
struct MmaBf16Operand {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};
struct LdmatrixOperand {
  uint32_t* r;
  const void* row;
};
extern const Collective kMmaS8, kMmaBf16, kLdmatrix, kLdmatrixTrans;

}  // namespace lowrank::emulator

namespace lowrank::cuda::ptx {

using emulator::Location;

LOWRANK_DEVICE void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location where = {}) {
  emulator::MmaS8Operand operand{d, a, b};
  emulator::collective(emulator::kMmaS8, emulator::kWholeWarp, &operand, where);
}
LOWRANK_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location where = {}) {
  emulator::MmaBf16Operand operand{d, a, b};
  emulator::collective(emulator::kMmaBf16, emulator::kWholeWarp, &operand, where);
}
LOWRANK_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row, Location where = {}) {
  emulator::check_shared_read(shared_row, 16, "ldmatrix", where);
  emulator::LdmatrixOperand operand{r, shared_row};
  emulator::collective(emulator::kLdmatrix, emulator::kWholeWarp, &operand, where);
}
LOWRANK_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row, Location where = {}) {
  emulator::check_shared_read(shared_row, 16, "ldmatrix.trans", where);
  emulator::LdmatrixOperand operand{r, shared_row};
  emulator::collective(emulator::kLdmatrixTrans, emulator::kWholeWarp, &operand, where);
}

LOWRANK_DEVICE void cp_async_16(void* shared, const void* global, bool valid = true, Location where = {}) {
  emulator::copy_async(shared, global, valid, where);
}
LOWRANK_DEVICE void cp_async_commit() { emulator::commit_copies(); }
template <int pending>
LOWRANK_DEVICE void cp_async_wait() {
  emulator::wait_copies(pending);
}

LOWRANK_DEVICE uint4 load_streaming_16(const void* global, Location where = {}) {
  emulator::check_global_read(global, 16, "load_streaming_16", where);
  uint4 value;
  std::memcpy(&value, global, sizeof value);
  return value;
}

LOWRANK_DEVICE float exp2_approximate(float x) {
  const float result = std::exp2(x);
  return result < 0x1p-126f ? 0.0f : result;
}

LOWRANK_DEVICE float reciprocal_approximate(float x) {
  const auto flushed = [](float value) { return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; };
  return flushed(1.0f / flushed(x));
}

LOWRANK_DEVICE uint32_t bfloat16_pair(float low, float high) {
  const auto rounded = [](float value) -> uint32_t { return value != value ? 0x7fffu : float32_to_bfloat16(value); };
  return rounded(low) | rounded(high) << 16;
}

}  // namespace lowrank::cuda::ptx
