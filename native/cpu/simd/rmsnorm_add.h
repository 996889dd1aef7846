// x = x + y / sqrt(mean(y^2) + epsilon) * gain (ops/rmsnorm_add.h), 16 lanes at a time.
#pragma once

#include "cpu/simd/sum_of_squares.h"
#include "ops/rmsnorm_add.h"

namespace lowrank::cpu {

template <class S>
void add_normalised(const RmsNormAddArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const size_t begin = static_cast<size_t>(m) * static_cast<size_t>(args.width);
    const float* y = args.y + begin;
    float* x = args.x + begin;
    const float* gain =
        args.gain_rows != nullptr && args.gain_rows[m] != nullptr ? args.gain_rows[m] : args.gain;
    const auto inverse = S::set1(inverse_rms<S>(y, args.width, args.epsilon));
    for (int32_t k = 0; k < args.width; k += S::kLanes) {
      const int count = args.width - k < S::kLanes ? args.width - k : S::kLanes;
      const auto normalised =
          S::mul(S::mul(S::load_first(y + k, count), inverse), S::load_first(gain + k, count));
      S::store_first(x + k, S::add(S::load_first(x + k, count), normalised), count);
    }
  }
}

}  // namespace lowrank::cpu
