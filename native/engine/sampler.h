// From a row of logits to a token.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/likeliest.h"

namespace lowrank {

struct SamplingOptions {
  float temperature = 0;         // 0: the most likely token (the lowest id where several are)
  int32_t top_k = 0;             // keep the k most likely; 0: all
  float top_p = 1;               // then the fewest whose probabilities reach p (arXiv 1904.09751); 1: all
  float min_p = 0;               // then those with at least min_p times the highest (arXiv 2407.01082); 0: all
  float repetition_penalty = 1;  // a seen token's logit is divided (if positive) or multiplied by it (arXiv 1909.05858)
  float presence_penalty = 0;    // subtracted once from the logit of each token generated so far
  float frequency_penalty = 0;   // subtracted for each time it was generated
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
};

// What a position's distribution was, before bias, penalties and temperature. Natural logarithms.
struct Distribution {
  double logsumexp = 0;
  float entropy = 0;                             // nats
  std::vector<std::pair<int32_t, float>> top;    // most likely first: id, log-probability
  // One rounding, so that a token has the same log-probability here and in `top`.
  float logprob(float logit) const { return static_cast<float>(static_cast<double>(logit) - logsumexp); }
};

// How often tokens have occurred in a sequence.
struct TokenCounts {
  std::unordered_map<int32_t, int32_t> generated;
  std::unordered_map<int32_t, int32_t> seen;  // prompt and generated
};

class Sampler {
 public:
  // `allowed`, [vocabulary] bytes or null, forbids tokens whose byte is 0: the seam for constrained generation. At least
  // one token must be allowed. `position` is that of the token to draw. Returns -1 where the logits hold a NaN or an
  // infinite maximum.
  int32_t sample(const float* logits, int32_t vocabulary, const SamplingOptions& options, const TokenCounts& counts,
                 uint64_t position, const uint8_t* allowed = nullptr);

  // `top_n` of the most likely tokens, ties by id.
  static Distribution describe(const float* logits, int32_t vocabulary, int32_t top_n);

 private:
  void adjust(const float* logits, int32_t vocabulary, const SamplingOptions& options, const TokenCounts& counts,
              const uint8_t* allowed);
  std::vector<float> adjusted_;
  std::vector<LogitAndId> found_;
  struct Candidate {
    float weight;
    int32_t id;
  };
  std::vector<Candidate> candidates_;
};

}  // namespace lowrank
