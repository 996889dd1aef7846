// The lanes of a warp.
#pragma once

#include <cstdint>

#include "cuda/cuda.h"

namespace lowrank::cuda {

inline constexpr int32_t kWarpLanes = 32;
inline constexpr uint32_t kWholeWarp = 0xffffffffu;  // the mask of all lanes

// Of blocks with one dimension.
LOWRANK_DEVICE int32_t lane_index() { return static_cast<int32_t>(threadIdx.x % kWarpLanes); }
LOWRANK_DEVICE int32_t warp_index() { return static_cast<int32_t>(threadIdx.x / kWarpLanes); }

}  // namespace lowrank::cuda
