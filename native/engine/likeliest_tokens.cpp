#include "engine/likeliest_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/exponential.h"

namespace lowrank {
namespace {

constexpr float kWeightlessExponent = 30;  // e^-30 < 2^-42
constexpr size_t kBuckets = 1024;

// Through a signed number, which processors convert to in one instruction.
uint64_t in_units(float exponential) {
  return static_cast<uint64_t>(static_cast<int64_t>(exponential * static_cast<float>(kWeightOfPeak)));
}

}  // namespace

uint64_t LikeliestTokens::weight(float logit) const { return in_units(exp_of_negative(exponent(logit))); }

size_t LikeliestTokens::bucket_of(float logit) const {
  const float at = (candidates_.back().logit - logit) * buckets_per_logit_;
  return at < static_cast<float>(kBuckets - 1) ? static_cast<size_t>(at) : kBuckets - 1;
}

void LikeliestTokens::begin(const LogitsRow& row, int32_t vocabulary) {
  row_ = row;
  on_host_ = false;
  vocabulary_ = vocabulary;
  floor_ = row.summary->peak - kWeightlessExponent / row.factor;
  candidates_.clear();
  candidates_sum_ = 0;
  buckets_.clear();
  for (int32_t i = 0; i < row.candidate_limit; ++i) {
    candidates_.push_back({row.candidates[i].logit, row.candidates[i].id, weight(row.candidates[i].logit)});
    candidates_sum_ += candidates_.back().weight;
  }
}

bool LikeliestTokens::after_candidates(float logit, int32_t id) const {
  const Token& last = candidates_.back();
  return logit >= floor_ && (logit < last.logit || (logit == last.logit && id > last.id));
}

template <class Visit>
void LikeliestTokens::for_each_group(float bound, Visit visit) {
  if (!on_host_) row_.logits = view_.of(backend_, row_.logits, static_cast<size_t>(vocabulary_));
  on_host_ = true;
  for (int32_t group = 0; group < logit_groups(vocabulary_); ++group) {
    if (row_.group_peaks[group] < bound) continue;
    const int32_t first = group * kLogitGroup;
    const int32_t size = std::min(kLogitGroup, vocabulary_ - first);
    if (!row_.adjusted() && size == kLogitGroup) {
      visit(row_.logits + first, first, size);
      continue;
    }
    float x[kLogitGroup];
    std::fill(x, x + kLogitGroup, -std::numeric_limits<float>::infinity());
    adjusted_logits(row_, first, size, x);
    visit(x, first, size);
  }
}

bool LikeliestTokens::count_buckets() {
  if (!buckets_.empty()) return true;
  if (row_.candidate_limit == vocabulary_) return false;
  // Where the last candidate lies at the floor, what is after it weighs nothing.
  buckets_per_logit_ = static_cast<float>(kBuckets) / (candidates_.back().logit - floor_);
  if (!(buckets_per_logit_ > 0 && std::isfinite(buckets_per_logit_))) return false;
  buckets_.assign(kBuckets, {0, 0});
  for_each_group(floor_, [&](const float* x, int32_t first, int32_t size) {
    float exponentials[kLogitGroup];
    for (int32_t i = 0; i < kLogitGroup; ++i) exponentials[i] = exp_of_negative(exponent(x[i]));
    for (int32_t i = 0; i < size; ++i) {
      if (!after_candidates(x[i], first + i)) continue;
      Bucket& bucket = buckets_[bucket_of(x[i])];
      bucket.sum += in_units(exponentials[i]);
      ++bucket.count;
    }
  });
  return true;
}

void LikeliestTokens::sort_bucket(size_t index) {
  const float last = candidates_.back().logit;
  const float middle = static_cast<float>(index) + 0.5f;
  sorted_.clear();
  for_each_group(floor_, [&](const float* x, int32_t first, int32_t size) {
    for (int32_t i = 0; i < size; ++i) {
      // One branch, well foreseen, for all but the few that are near.
      if (std::fabs((last - x[i]) * buckets_per_logit_ - middle) > 1) continue;
      if (after_candidates(x[i], first + i) && bucket_of(x[i]) == index) sorted_.push_back({x[i], first + i, weight(x[i])});
    }
  });
  std::sort(sorted_.begin(), sorted_.end(),
            [](const Token& a, const Token& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); });
}

uint64_t LikeliestTokens::sum_of_first(size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < std::min(count, candidates_.size()); ++i) sum += candidates_[i].weight;
  if (count <= candidates_.size() || !count_buckets()) return sum;
  size_t left = count - candidates_.size();
  for (size_t i = 0; i < kBuckets && left > 0; ++i) {
    if (buckets_[i].count <= left) {
      sum += buckets_[i].sum;
      left -= buckets_[i].count;
    } else {
      sort_bucket(i);
      for (; left > 0; --left) sum += sorted_[left - 1].weight;
    }
  }
  return sum;
}

uint64_t LikeliestTokens::sum_from_exponent(float min) {
  uint64_t sum = 0;
  for (const Token& token : candidates_)
    if (exponent(token.logit) >= min) sum += token.weight;
  if (exponent(candidates_.back().logit) < min || row_.candidate_limit == vocabulary_) return sum;
  for_each_group(floor_, [&](const float* x, int32_t first, int32_t size) {
    for (int32_t i = 0; i < size; ++i)
      if (exponent(x[i]) >= min && after_candidates(x[i], first + i)) sum += weight(x[i]);
  });
  return sum;
}

LikeliestTokens::Crossing LikeliestTokens::crossing(uint64_t mass) {
  uint64_t sum = 0;
  const auto walk = [&](const std::vector<Token>& tokens) {
    for (const Token& token : tokens)
      if ((sum += token.weight) > mass) return token.id;
    return -1;
  };
  if (candidates_sum_ > mass) {
    const int32_t id = walk(candidates_);
    return {id, sum};
  }
  sum = candidates_sum_;
  if (!count_buckets()) return {-1, sum};
  for (size_t i = 0; i < kBuckets; ++i) {
    if (sum + buckets_[i].sum > mass) {
      sort_bucket(i);
      const int32_t id = walk(sorted_);
      return {id, sum};
    }
    sum += buckets_[i].sum;
  }
  return {-1, sum};
}

}  // namespace lowrank
