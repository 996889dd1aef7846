// The divisor of RMS norms (arXiv 1910.07467), summed in one fixed order: lane l of chain c takes the
// elements 64 i + 16 c + l.
#pragma once

#include <cstdint>

#include "cpu/simd/force_inline.h"

namespace lowrank::cpu {

template <class S>
LOWRANK_INLINE float sum_of_squares(const float* x, int32_t count) {
  using F = typename S::F32;
  F sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  int32_t k = 0;
  for (; k + 4 * S::kLanes <= count; k += 4 * S::kLanes) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const F v = S::load(x + k + c * S::kLanes);
      sum[c] = S::fma(v, v, sum[c]);
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const int32_t left = count - k - c * S::kLanes;
    if (left <= 0) break;
    const F v = S::load_first(x + k + c * S::kLanes, left < S::kLanes ? left : S::kLanes);
    sum[c] = S::fma(v, v, sum[c]);
  }
  return S::reduce_add(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
}

// 1 / sqrt(mean(x^2) + epsilon)
template <class S>
LOWRANK_INLINE float inverse_rms(const float* x, int32_t count, float epsilon) {
  return 1.0f / S::sqrt_scalar(sum_of_squares<S>(x, count) / static_cast<float>(count) + epsilon);
}

}  // namespace lowrank::cpu
