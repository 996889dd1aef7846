#include "ops/logits_candidates.h"

#include <algorithm>
#include <limits>

namespace lowrank {

void adjusted_logits(const LogitsRow& row, int32_t begin, int32_t count, float* x) {
  std::copy(row.logits + begin, row.logits + begin + count, x);
  const LogitAdjustment* end = row.adjustments + row.adjustment_count;
  const LogitAdjustment* at = std::lower_bound(row.adjustments, end, begin,
                                               [](const LogitAdjustment& one, int32_t id) { return one.id < id; });
  for (; at != end && at->id < begin + count; ++at) {
    float& logit = x[at->id - begin];
    logit = (logit > 0 ? logit / at->penalty : logit * at->penalty) + at->bias;
  }
  if (row.allowed == nullptr) return;
  for (int32_t i = 0; i < count; ++i)
    if (row.allowed[begin + i] == 0) x[i] = -std::numeric_limits<float>::infinity();
}

}  // namespace lowrank
