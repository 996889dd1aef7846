// What sampling and scoring need of rows of logits, so that nobody goes over the vocabulary again. A row is read as
//   x[i] = -inf                                                          where allowed[i] is 0,
//          (l > 0 ? l / penalty : l * penalty) + bias,  l = logits[i]    where an adjustment names i (arXiv 1909.05858),
//          logits[i]                                                     elsewhere
// and gives, over all ids i < vocabulary,
//   peak       = max x
//   sum        = sum of e^((x[i] - peak) factor)
//   weighted   = sum of (x[i] - peak) factor e^((x[i] - peak) factor)
//   candidates = the candidate_limit ids of the highest x, highest first, of equals the lowest id first
// With factor = 1 / temperature, logsumexp(x factor) = peak factor + log(sum), and the entropy of that distribution is
// log(sum) - weighted / sum, in nats.
//
// logits_blocks:      of each block of kLogitBlock ids its peak and its sums relative to that peak, and the peak of each group of
//                     kLogitGroup ids. (Row, block) pairs are split over the parts.
// logits_candidates:  puts the blocks together, in their order, and finds the candidates in the groups that can hold one: those
//                     whose peak is not below the candidate_limit-th highest. Rows are split over the parts.
//
// Blocks and groups lie at fixed ids and every sum has one order, so a row's results do not depend on parts or on other rows.
// Within a block sums are float32 (sum is exact to 2e-6 of itself, weighted to 2e-6 (sum + |weighted|)), above in double.
// Peaks and candidates are exact.
#pragma once

#include "ops/types.h"

namespace lowrank {

inline constexpr int32_t kLogitGroup = 64;
inline constexpr int32_t kLogitBlock = 1024;
inline constexpr int32_t kMaxLogitCandidates = 256;
inline constexpr int32_t logit_groups(int32_t vocabulary) { return (vocabulary + kLogitGroup - 1) / kLogitGroup; }
inline constexpr int32_t logit_blocks(int32_t vocabulary) { return (vocabulary + kLogitBlock - 1) / kLogitBlock; }

struct LogitAdjustment {
  int32_t id;
  float penalty;  // above 0; 1: none
  float bias;     // added
};

struct LogitCandidate {
  float logit;  // x
  int32_t id;
};

struct LogitsBlock {
  float peak;
  float sum;       // as above, with the block's peak in place of the row's
  float weighted;
  int32_t has_nan;
};

struct LogitsSummary {
  float peak;
  int32_t finite;    // 0 where an x is NaN or the peak is infinite: then nothing else is filled in
  double sum;
  double weighted;
};

// A row, what is asked of it, and where the results go. The pointers without a default are never null.
struct LogitsRow {
  const float* logits;  // [vocabulary] float32
  const LogitAdjustment* adjustments = nullptr;  // ascending ids, each below vocabulary and there once
  int32_t adjustment_count = 0;
  const uint8_t* allowed = nullptr;  // [vocabulary], or null: all are
  float factor = 0;                  // above 0; or 0: no sums are wanted
  int32_t candidate_limit = 0;       // 0 to min(kMaxLogitCandidates, vocabulary)
  LogitsSummary* summary;
  LogitCandidate* candidates;  // [candidate_limit]
  float* group_peaks;          // [logit_groups(vocabulary)] the highest x of each group
  float* sorted_peaks;         // [logit_groups(vocabulary)] working memory of logits_candidates
  LogitsBlock* blocks;         // [logit_blocks(vocabulary)]

  bool adjusted() const { return adjustment_count != 0 || allowed != nullptr; }
};

struct LogitsCandidatesArgs {
  const LogitsRow* rows;
  int32_t row_count;
  int32_t vocabulary;  // above 0
};
using LogitsBlocksArgs = LogitsCandidatesArgs;  // the same rows, for both ops

// x of `count` ids from `begin` on: what every backend and the sampler read, where a row is adjusted.
void adjusted_logits(const LogitsRow& row, int32_t begin, int32_t count, float* x);

}  // namespace lowrank
