#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/philox.h"

namespace lowrank {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// Highest logit first, ties by id.
bool likelier(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

// -1 where a logit is NaN or the highest is infinite.
int32_t most_likely(const float* logits, int32_t vocabulary) {
  int32_t best = 0;
  bool nan = false;
  for (int32_t id = 0; id < vocabulary; ++id) {
    nan |= std::isnan(logits[id]);
    if (logits[id] > logits[best]) best = id;
  }
  return nan || !std::isfinite(logits[best]) ? -1 : best;
}

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

  // Weights relative to the most likely token, so that no exponential overflows.
  const double inverse_temperature = 1.0 / static_cast<double>(options.temperature);
  const double peak = logits[best];
  candidates_.clear();
  for (int32_t id = 0; id < vocabulary; ++id)
    if (logits[id] != kForbidden) candidates_.emplace_back(logits[id], id);
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options.top_k, candidates_.end(), likelier);
    candidates_.resize(static_cast<size_t>(options.top_k));
  }
  double total = 0;
  for (auto& [weight, id] : candidates_) {
    weight = static_cast<float>(std::exp((static_cast<double>(weight) - peak) * inverse_temperature));
    total += static_cast<double>(weight);
  }
  if (options.top_p < 1) {
    // Takes the likeliest from a heap one by one: usually few are needed of many.
    const auto less = [](const auto& a, const auto& b) { return likelier(b, a); };
    std::make_heap(candidates_.begin(), candidates_.end(), less);
    auto end = candidates_.end();
    double kept = 0;
    while (end != candidates_.begin() && kept < static_cast<double>(options.top_p) * total) {
      std::pop_heap(candidates_.begin(), end, less);
      --end;
      kept += static_cast<double>(end->first);
    }
    candidates_.erase(candidates_.begin(), end);
    total = kept;
  }
  if (options.min_p > 0) {
    std::erase_if(candidates_, [&](const auto& candidate) { return candidate.first < options.min_p; });
  }
  // A fixed order, so that the draw does not depend on how the candidates were found.
  std::sort(candidates_.begin(), candidates_.end(), likelier);
  total = 0;
  for (const auto& [weight, id] : candidates_) total += static_cast<double>(weight);
  double target = uniform_draw(options.seed, position) * total;
  for (const auto& [weight, id] : candidates_) {
    target -= static_cast<double>(weight);
    if (target < 0) return id;
  }
  return candidates_.back().second;
}

Distribution Sampler::describe(const float* logits, int32_t vocabulary, int32_t top_n) {
  Distribution out;
  double peak = logits[0];
  for (int32_t id = 1; id < vocabulary; ++id) peak = std::max(peak, static_cast<double>(logits[id]));
  double sum = 0;
  double weighted = 0;  // sum of exp(l - peak) * (l - peak)
  for (int32_t id = 0; id < vocabulary; ++id) {
    const double shifted = static_cast<double>(logits[id]) - peak;
    const double weight = std::exp(shifted);
    sum += weight;
    if (weight > 0) weighted += weight * shifted;
  }
  out.logsumexp = peak + std::log(sum);
  out.entropy = static_cast<float>(std::log(sum) - weighted / sum);
  if (top_n <= 0) return out;
  std::vector<std::pair<float, int32_t>> best;
  best.reserve(static_cast<size_t>(top_n) + 1);
  for (int32_t id = 0; id < vocabulary; ++id) {
    if (best.size() == static_cast<size_t>(top_n) && !likelier({logits[id], id}, best.back())) continue;
    const std::pair<float, int32_t> entry{logits[id], id};
    best.insert(std::upper_bound(best.begin(), best.end(), entry, likelier), entry);
    if (best.size() > static_cast<size_t>(top_n)) best.pop_back();
  }
  for (const auto& [logit, id] : best) out.top.emplace_back(id, out.logprob(logit));
  return out;
}

}  // namespace lowrank
