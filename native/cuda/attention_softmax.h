// What the attention kernels share: how softmax states are put together. Scores are in powers of two:
// a weight is 2^(score - largest).
#pragma once

#include <cmath>

#include "cuda/ptx.h"
#include "cuda/warp.h"
#include "device/params/attention_paged.h"

namespace lowrank::cuda {

// What the sums of two states are multiplied with when they become one, which is relative to `largest`. A state without a key
// has largest -inf and leaves the other as it is.
struct Merge {
  float largest;
  float keep;
  float add;
};
LOWRANK_DEVICE Merge merge(float largest, float other) {
  const float both = fmaxf(largest, other);
  const float base = both == -INFINITY ? 0.0f : both;
  return {both, ptx::exp2_approximate(largest - base), ptx::exp2_approximate(other - base)};
}
LOWRANK_DEVICE float merged(const Merge& merge, float sum, float other) {
  return __fmaf_rn(other, merge.add, sum * merge.keep);
}

// cap tanh(x) for the exponent 2 x log2(e): tanh(x) = 1 - 2 / (1 + e^2x).
LOWRANK_DEVICE float capped_score(float exponent, float cap) {
  return __fmaf_rn(-2.0f * cap, ptx::reciprocal_approximate(1.0f + ptx::exp2_approximate(exponent)), cap);
}

// Where the state of (row, head) for `split` lies among the partial ones.
LOWRANK_DEVICE size_t partial_state(const device::AttentionPagedParams& params, int32_t row, int32_t head, int32_t split) {
  const size_t row_head = static_cast<size_t>(row) * static_cast<size_t>(params.heads) + static_cast<size_t>(head);
  return row_head * static_cast<size_t>(params.splits) + static_cast<size_t>(split % params.splits);
}

}  // namespace lowrank::cuda
