// The tokens of a row of logits, likeliest first and ties by id, with their weights: sums over the first ones, and the token at
// which a sum is reached. Most questions end in the candidates that the op found; the others are answered by the whole row,
// cut into buckets by logit, of which one is sorted.
//
// A token's weight is e^((x - peak) factor) in units of 2^-42, cut to a whole number. Sums of whole numbers are the same in any
// order, so no answer depends on how many candidates there were or on how tokens were summed. Tokens 29.1 / factor
// below the peak weigh nothing and are never reached: a vocabulary of 2^18 of them has 6e-8 of the peak's weight.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/host_view.h"
#include "ops/logits_candidates.h"

namespace lowrank {

inline constexpr double kWeightOfPeak = 0x1p42;  // sums of 2^22 tokens fit 64 bits

class LikeliestTokens {
 public:
  // Of rows whose logits lie in this backend's memory: a row that is wanted as a whole is read from there.
  explicit LikeliestTokens(const Backend& backend) : backend_(backend) {}

  // Begins with a row that the ops have filled in, which is finite and has sums and candidates. It must live as long as this is
  // asked; the memory is kept for the next row.
  void begin(const LogitsRow& row, int32_t vocabulary);

  // Sums of weights from the likeliest token on.
  uint64_t sum_of_first(size_t count);
  uint64_t sum_from_exponent(float min);  // of the tokens with (x - peak) factor >= min

  struct Crossing {
    int32_t id;    // -1: there is none
    uint64_t sum;  // with this token
  };
  // The first token with which the sum of weights is above `mass`; where there is none, the sum of all.
  Crossing crossing(uint64_t mass);

 private:
  struct Token {
    float logit;
    int32_t id;
    uint64_t weight;
  };
  struct Bucket {
    uint64_t sum;
    size_t count;
  };

  float exponent(float logit) const { return (logit - row_.summary->peak) * row_.factor; }
  uint64_t weight(float logit) const;
  // Of a logit from `floor_` to that of the last candidate; rises as the logit falls.
  size_t bucket_of(float logit) const;
  bool after_candidates(float logit, int32_t id) const;
  // Calls visit(x, first id, ids) for the groups that reach `bound`, x [kLogitGroup] being minus infinity after the last id.
  template <class Visit>
  void for_each_group(float bound, Visit visit);
  // Fills buckets_; false where the candidates are all tokens that weigh something.
  bool count_buckets();
  // Fills sorted_.
  void sort_bucket(size_t index);

  const Backend& backend_;
  LogitsRow row_{};
  HostView view_;
  bool on_host_ = false;  // row_.logits is the host's
  int32_t vocabulary_ = 0;
  float floor_ = 0;  // no token below it weighs anything
  float buckets_per_logit_ = 0;
  uint64_t candidates_sum_ = 0;
  std::vector<Token> candidates_;
  std::vector<Bucket> buckets_;  // of the tokens after the candidates; empty: not counted
  std::vector<Token> sorted_;    // of one bucket
};

}  // namespace lowrank
