// See ops/rmsnorm_add.h. A block a row.
#include "cuda/rmsnorm_add.h"

#include "cuda/row_norm.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kStep = kRowThreads * kLaneChannels;

template <bool kMultiplied>
LOWRANK_KERNEL(kRowThreads, 2) rmsnorm_add(device::RmsNormAddParams params) {
  LOWRANK_SHARED(float, partial, kRowWarps);
  const auto row = static_cast<int32_t>(blockIdx.x);
  const int64_t begin = int64_t{row} * params.width;
  const float* y = params.y + begin;
  float* x = params.x + begin;
  const float* own_gain = params.gain_rows == nullptr ? nullptr : params.gain_rows[row];
  const float* gain = own_gain == nullptr ? params.gain : own_gain;

  const float sum = sum_of_warp(squares_of_thread(y, params.width));
  if (lane_index() == 0) partial[warp_index()] = sum;
  __syncthreads();
  const float factor = norm_factor(sum_of_warps(partial), params.width, params.epsilon);

  for (int32_t k = static_cast<int32_t>(threadIdx.x) * kLaneChannels; k < params.width; k += kStep) {
    const float4 v = load_four(y, k, params.width);
    const float4 g = load_four(gain, k, params.width);
    const float4 old = load_four<false>(x, k, params.width);
    if constexpr (kMultiplied) {
      const float m = params.multiplier;
      store_four(x, k, params.width,
                 make_float4(old.x + v.x * factor * g.x * m, old.y + v.y * factor * g.y * m, old.z + v.z * factor * g.z * m,
                             old.w + v.w * factor * g.w * m));
    } else {
      store_four(x, k, params.width,
                 make_float4(old.x + v.x * factor * g.x, old.y + v.y * factor * g.y, old.z + v.z * factor * g.z,
                             old.w + v.w * factor * g.w));
    }
  }
}

LOWRANK_KERNEL(kRowThreads, 2) multiply_add(device::RmsNormAddParams params) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * params.width;
  const float* y = params.y + begin;
  float* x = params.x + begin;
  for (int32_t k = static_cast<int32_t>(threadIdx.x) * kLaneChannels; k < params.width; k += kStep) {
    const float4 v = load_four(y, k, params.width);
    const float4 old = load_four<false>(x, k, params.width);
    store_four(x, k, params.width,
               make_float4(old.x + v.x * params.multiplier, old.y + v.y * params.multiplier, old.z + v.z * params.multiplier,
                           old.w + v.w * params.multiplier));
  }
}

}  // namespace

void enqueue(Launches& launches, const device::RmsNormAddParams& params) {
  if (params.rows == 0) return;
  const auto kernel = params.gain == nullptr ? multiply_add : params.multiplier == 1.0f ? rmsnorm_add<false> : rmsnorm_add<true>;
  launches.add(kernel, dim3(static_cast<unsigned>(params.rows)), dim3(kRowThreads), 0, params);
}

}  // namespace lowrank::cuda
