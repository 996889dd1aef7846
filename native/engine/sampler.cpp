#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/philox.h"
#include "engine/likeliest.h"
#include "engine/softmax.h"

namespace lowrank {
namespace {

constexpr float kLargestFactor = 1e30f;  // of a temperature next to 0
constexpr float kForbidden = -std::numeric_limits<float>::infinity();

}  // namespace

void Sampler::adjust(const float* logits, int32_t vocabulary, const SamplingOptions& options, const TokenCounts& counts,
                     const uint8_t* allowed) {
  adjusted_.assign(logits, logits + vocabulary);
  if (options.repetition_penalty != 1) {
    for (const auto& [id, count] : counts.seen) {
      float& logit = adjusted_[static_cast<size_t>(id)];
      logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    }
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    for (const auto& [id, count] : counts.generated)
      adjusted_[static_cast<size_t>(id)] -= options.presence_penalty + options.frequency_penalty * static_cast<float>(count);
  }
  for (const auto& [id, bias] : options.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
  if (allowed != nullptr)
    for (int32_t id = 0; id < vocabulary; ++id)
      if (allowed[id] == 0) adjusted_[static_cast<size_t>(id)] = kForbidden;
}

int32_t Sampler::sample(const float* logits, int32_t vocabulary, const SamplingOptions& options, const TokenCounts& counts,
                        uint64_t position, const uint8_t* allowed) {
  const bool plain = options.repetition_penalty == 1 && options.presence_penalty == 0 && options.frequency_penalty == 0 &&
                     options.logit_bias.empty() && allowed == nullptr;
  if (!plain) {
    adjust(logits, vocabulary, options, counts, allowed);
    logits = adjusted_.data();
  }
  const int32_t best = most_likely(logits, vocabulary);
  if (best < 0 || options.temperature == 0) return best;

  // Weights are relative to the most likely token, so that no exponential overflows. Tokens are found as far as they are asked
  // for: 4 temperatures below the peak first, where a weight is 1/55 of the highest.
  const float peak = logits[best];
  const float factor = std::min(1 / options.temperature, kLargestFactor);
  LikeliestFirst likeliest(logits, vocabulary, peak, 4 * options.temperature, found_);
  size_t limit = options.top_k > 0 ? static_cast<size_t>(options.top_k) : SIZE_MAX;
  candidates_.clear();
  // The i-th likeliest token, null behind the last that is kept.
  const auto candidate = [&](size_t i) -> const Candidate* {
    if (i >= limit) return nullptr;
    if (i == candidates_.size()) {
      const LogitAndId* next = likeliest.next();
      if (next == nullptr) return nullptr;
      candidates_.push_back({exp_of_negative((next->first - peak) * factor), next->second});
    }
    return &candidates_[i];
  };

  double total = 0;
  if (options.top_k > 0)
    for (size_t i = 0; const Candidate* next = candidate(i); ++i) total += static_cast<double>(next->weight);
  else
    total = sum_exponentials(logits, vocabulary, peak, factor).sum;
  if (options.top_p < 1 || options.min_p > 0) {
    const double mass = options.top_p < 1 ? static_cast<double>(options.top_p) * total : std::numeric_limits<double>::infinity();
    double kept = 0;
    size_t count = 0;
    for (; count == 0 || kept < mass; ++count) {
      const Candidate* next = candidate(count);
      if (next == nullptr || next->weight < options.min_p) break;
      kept += static_cast<double>(next->weight);
    }
    limit = count;
    total = kept;
  }
  // The inverse of the distribution, likeliest first: what is drawn does not depend on how the tokens were found.
  double target = uniform_draw(options.seed, position) * total;
  int32_t last = best;
  for (size_t i = 0; const Candidate* next = candidate(i); ++i) {
    last = next->id;
    target -= static_cast<double>(next->weight);
    if (target < 0) break;
  }
  return last;
}

Distribution Sampler::describe(const float* logits, int32_t vocabulary, int32_t top_n) {
  Distribution out;
  const int32_t peak = most_likely(logits, vocabulary);
  if (peak < 0) {
    out.logsumexp = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  const ExponentialSums sums = sum_exponentials(logits, vocabulary, logits[peak], 1);
  out.logsumexp = static_cast<double>(logits[peak]) + std::log(sums.sum);
  out.entropy = static_cast<float>(std::log(sums.sum) - sums.weighted / sums.sum);
  if (top_n <= 0) return out;
  std::vector<LogitAndId> best;
  best.reserve(static_cast<size_t>(top_n) + 1);
  for (int32_t id = 0; id < vocabulary; ++id) {
    if (best.size() == static_cast<size_t>(top_n) && !likelier({logits[id], id}, best.back())) continue;
    const LogitAndId entry{logits[id], id};
    best.insert(std::upper_bound(best.begin(), best.end(), entry, likelier), entry);
    if (best.size() > static_cast<size_t>(top_n)) best.pop_back();
  }
  for (const auto& [logit, id] : best) out.top.emplace_back(id, out.logprob(logit));
  return out;
}

}  // namespace lowrank
