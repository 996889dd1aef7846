// Logits as integers in their order, and what a row's logits become where it is adjusted.
#pragma once

#include <cmath>

#include "cuda/warp.h"
#include "device/params/logits_candidates.h"

namespace lowrank::cuda {

// Ascending with x, which is not NaN; both zeros are one.
LOWRANK_DEVICE uint32_t order_of(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
LOWRANK_DEVICE float logit_of(uint32_t order) {
  return __uint_as_float((order & 0x80000000u) != 0 ? order & 0x7fffffffu : ~order);
}

// Candidates as integers: the higher logit is the larger one, of equals the lower id. Never 0.
LOWRANK_DEVICE uint64_t rank_of(float x, int32_t id) {
  return static_cast<uint64_t>(order_of(x)) << 32 | (0xffffffffu - static_cast<uint32_t>(id));
}
LOWRANK_DEVICE LogitCandidate candidate_of(uint64_t rank) {
  return {logit_of(static_cast<uint32_t>(rank >> 32)), static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(rank))};
}

// x[id] of ops/logits_candidates.h, as lowrank::adjusted_logits has it.
LOWRANK_DEVICE float adjusted_logit(const device::LogitsRow& row, int32_t id) {
  if (row.allowed != nullptr && __ldg(row.allowed + id) == 0) return -INFINITY;
  const float logit = __ldg(row.logits + id);
  int32_t begin = 0, end = row.adjustment_count;
  while (begin < end) {
    const int32_t middle = (begin + end) / 2;
    if (__ldg(&row.adjustments[middle].id) < id)
      begin = middle + 1;
    else
      end = middle;
  }
  if (begin == row.adjustment_count) return logit;
  const LogitAdjustment* by = row.adjustments + begin;
  if (__ldg(&by->id) != id) return logit;
  const float penalty = __ldg(&by->penalty);
  return (logit > 0.0f ? logit / penalty : logit * penalty) + __ldg(&by->bias);
}

}  // namespace lowrank::cuda
