// From what the ops find in a row of logits to a token.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/likeliest_tokens.h"
#include "engine/token_counts.h"
#include "ops/logits_candidates.h"

namespace lowrank {

struct SamplingOptions {
  float temperature = 0;         // 0: the most likely token (the lowest id where several are)
  int32_t top_k = 0;             // keep the k most likely; 0: all
  float top_p = 1;               // then the fewest whose probabilities reach p (arXiv 1904.09751); 1: all
  float min_p = 0;               // then those with at least min_p times the highest (arXiv 2407.01082); 0: all
  float repetition_penalty = 1;  // a seen token's logit is divided (if positive) or multiplied by it (arXiv 1909.05858)
  float presence_penalty = 0;    // subtracted once from the logit of each token generated so far
  float frequency_penalty = 0;   // subtracted for each time it was generated
  std::vector<std::pair<int32_t, float>> logit_bias;  // id, added to its logit; those of one id add up
  uint64_t seed = 0;

  bool counts_tokens() const { return repetition_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0; }
};

// What the penalties and the bias do to a row: ascending ids, each once.
std::vector<LogitAdjustment> logit_adjustments(const SamplingOptions& options, const TokenCounts& counts);

// What a draw wants of a row, whose logits, adjustments and mask are set apart. At least one token must be allowed.
LogitsRow row_to_draw_from(const SamplingOptions& options, int32_t vocabulary);
// What the description of a distribution with the `top_n` most likely tokens wants; top_n is at most kMaxLogitCandidates.
LogitsRow row_to_describe(const float* logits, int32_t top_n, int32_t vocabulary);

// What a position's distribution was, before bias, penalties and temperature. Natural logarithms.
struct Distribution {
  double logsumexp = 0;                          // NaN where a logit is NaN or the highest is infinite
  float entropy = 0;                             // nats
  std::vector<std::pair<int32_t, float>> top;    // most likely first, ties by id: id, log-probability
  // One rounding, so that a token has the same log-probability here and in `top`.
  float logprob(float logit) const { return static_cast<float>(static_cast<double>(logit) - logsumexp); }
};
// Of a row of row_to_describe that the ops have filled in.
Distribution describe(const LogitsRow& row);

class Sampler {
 public:
  // Of rows whose logits lie in this backend's memory.
  explicit Sampler(const Backend& backend) : tokens_(backend) {}

  // Of a row of row_to_draw_from, by the same options, that the ops have filled in; the token at `position`. Returns -1 where an
  // adjusted logit is NaN or the highest is infinite. A function of the logits, the options and the position alone.
  int32_t draw(const LogitsRow& row, int32_t vocabulary, const SamplingOptions& options, uint64_t position);

 private:
  LikeliestTokens tokens_;
};

}  // namespace lowrank
