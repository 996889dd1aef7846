// 1 / sqrt(mean(x^2) + epsilon) of rows, by a block of kRowThreads threads.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/channels.h"

namespace lowrank::cuda {

inline constexpr int32_t kRowThreads = 256;
inline constexpr int32_t kRowWarps = kRowThreads / kWarpLanes;

// This thread's part of the sum of squares of x [count]: channels 4 t + i, 4 t + i + 1024, … in order.
LOWRANK_DEVICE float squares_of_thread(const float* x, int32_t count) {
  constexpr int32_t kStep = kRowThreads * kLaneChannels;
  float sum = 0.0f;
  for (int32_t k = static_cast<int32_t>(threadIdx.x) * kLaneChannels; k < count; k += kStep) {
    const float4 v = load_four(x, k, count);
    sum = __fmaf_rn(v.x, v.x, sum);
    sum = __fmaf_rn(v.y, v.y, sum);
    sum = __fmaf_rn(v.z, v.z, sum);
    sum = __fmaf_rn(v.w, v.w, sum);
  }
  return sum;
}

// Warp-wide. Pairs of lanes at a distance of 16, then of 8, 4, 2, 1; the same bits on every lane.
LOWRANK_DEVICE float sum_of_warp(float value) {
  for (int32_t offset = kWarpLanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kWholeWarp, value, offset);
  return value;
}

// The sum of the block's warps, from theirs.
LOWRANK_DEVICE float sum_of_warps(const float* partial) {
  static_assert(kRowWarps == 8);
  return ((partial[0] + partial[1]) + (partial[2] + partial[3])) + ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

LOWRANK_DEVICE float norm_factor(float squares, int32_t count, float epsilon) {
  return 1.0f / sqrtf(squares / static_cast<float>(count) + epsilon);
}

}  // namespace lowrank::cuda
