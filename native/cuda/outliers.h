// The outlier channels of an input, as a warp looks them up: lane l keeps outliers l and l + 32.
#pragma once

#include <cstdint>

#include "cuda/channels.h"
#include "device/params/common.h"

namespace lowrank::cuda {

struct OutlierLanes {
  int32_t channels[kMaxOutliers / kWarpLanes];
};
static_assert(kMaxOutliers == 2 * kWarpLanes);

LOWRANK_DEVICE OutlierLanes load_outliers(const device::InputTransform& input) {
  OutlierLanes lanes;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int32_t j = lane_index() + i * kWarpLanes;
    lanes.channels[i] = j < input.outlier_count ? input.outliers[j] : -1;
  }
  return lanes;
}

// Warp-wide. Calls visit(j, channel) for each outlier j within the scale group that begins at channel `begin`.
template <class Visit>
LOWRANK_DEVICE void visit_outliers(const OutlierLanes& lanes, int32_t begin, const Visit& visit) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int32_t channel = lanes.channels[i];
    uint32_t here = __ballot_sync(kWholeWarp, channel >= begin && channel < begin + kScaleGroup);
    for (; here != 0; here &= here - 1) {
      const int32_t lane = __ffs(static_cast<int>(here)) - 1;
      visit(lane + i * kWarpLanes, __shfl_sync(kWholeWarp, channel, lane));
    }
  }
}

}  // namespace lowrank::cuda
