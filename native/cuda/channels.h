// Rows of float32 channels as kernels read them: four channels a lane, 128 (a scale group) a warp.
#pragma once

#include <cstdint>

#include "cuda/scale_group.h"
#include "cuda/warp.h"

namespace lowrank::cuda {

inline constexpr int32_t kLaneChannels = 4;
static_assert(kWarpLanes * kLaneChannels == kScaleGroup);

LOWRANK_DEVICE bool is_aligned_16(const void* address) { return (reinterpret_cast<uintptr_t>(address) & 15) == 0; }

// A value that no thread of the launch writes: the compiler then knows that it lies in global memory, wherever its address came
// from. Otherwise as it is.
template <bool kConstant, class T>
LOWRANK_DEVICE T load_one(const T* address) {
  if constexpr (kConstant) return __ldg(address);
  return *address;
}

// x[k … k + 3], with 0 from x[count] on. k is a multiple of 4; x may have any alignment of floats.
template <bool kConstant = true>
LOWRANK_DEVICE float4 load_four(const float* x, int32_t k, int32_t count) {
  const auto one = [&](int32_t at) { return at < count ? load_one<kConstant>(x + at) : 0.0f; };
  if (k + kLaneChannels <= count && is_aligned_16(x)) return load_one<kConstant>(reinterpret_cast<const float4*>(x + k));
  return make_float4(one(k), one(k + 1), one(k + 2), one(k + 3));
}

// Stores v to x[k … k + 3], up to x[count]. The same.
LOWRANK_DEVICE void store_four(float* x, int32_t k, int32_t count, const float4& v) {
  if (k + kLaneChannels <= count && is_aligned_16(x)) {
    *reinterpret_cast<float4*>(x + k) = v;
    return;
  }
  if (k < count) x[k] = v.x;
  if (k + 1 < count) x[k + 1] = v.y;
  if (k + 2 < count) x[k + 2] = v.z;
  if (k + 3 < count) x[k + 3] = v.w;
}

// Warp-wide. The rotation of quant/rotation.h on the two blocks of 64 channels that a warp holds, channel 4 lane + i in v[i]:
// the same sums in the same order, so the same bits.
LOWRANK_DEVICE void rotate_blocks(float (&v)[kLaneChannels]) {
  const float pairs[] = {v[0] + v[1], v[0] - v[1], v[2] + v[3], v[2] - v[3]};
  v[0] = pairs[0] + pairs[2];
  v[1] = pairs[1] + pairs[3];
  v[2] = pairs[0] - pairs[2];
  v[3] = pairs[1] - pairs[3];
  for (int32_t stride = 1; stride < kRotationBlock / kLaneChannels; stride *= 2) {
    const bool upper = (lane_index() & stride) != 0;
    for (float& value : v) {
      const float other = __shfl_xor_sync(kWholeWarp, value, stride);
      value = upper ? other - value : value + other;
    }
  }
  for (float& value : v) value *= 0.125f;
}

}  // namespace lowrank::cuda
