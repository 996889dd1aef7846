// See ops/logits_candidates.h.
#pragma once

#include <cstdint>

#include "ops/logits_candidates.h"

namespace lowrank::device {

// lowrank::LogitsRow; what it points to is device memory.
struct LogitsRow {
  const float* logits;  // [vocabulary]
  const LogitAdjustment* adjustments;
  const uint8_t* allowed;  // [vocabulary] or null
  LogitsSummary* summary;
  LogitCandidate* candidates;  // [candidate_limit]
  float* group_peaks;          // [logit_groups(vocabulary)]
  LogitsBlock* blocks;         // [logit_blocks(vocabulary)]
  float factor;
  int32_t adjustment_count;
  int32_t candidate_limit;
};

// The rows are data that a step brings: what is asked of them is no parameter of a launch.
struct LogitsBlocksParams {
  const LogitsRow* rows;  // [row_count]
  int32_t row_count;
  int32_t vocabulary;
};

struct LogitsCandidatesParams {
  const LogitsRow* rows;
  int32_t row_count;
  int32_t vocabulary;
};

}  // namespace lowrank::device
