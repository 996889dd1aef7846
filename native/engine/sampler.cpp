#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/philox.h"

namespace lowrank {
namespace {

constexpr float kLargestFactor = 1e30f;  // of a temperature next to 0
// Where nothing says how many: few draws end after these, and fewer would not be found faster.
constexpr int32_t kUsualCandidates = 64;

uint64_t whole(double mass) { return static_cast<uint64_t>(std::clamp(std::ceil(mass), 1.0, 0x1p63)); }

}  // namespace

std::vector<LogitAdjustment> logit_adjustments(const SamplingOptions& options, const TokenCounts& counts) {
  auto biases = options.logit_bias;
  const auto by_id = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (!std::is_sorted(biases.begin(), biases.end(), by_id)) std::stable_sort(biases.begin(), biases.end(), by_id);
  auto bias = biases.cbegin();
  auto seen = options.repetition_penalty != 1 ? counts.seen.begin() : counts.seen.end();
  auto generated =
      options.presence_penalty != 0 || options.frequency_penalty != 0 ? counts.generated.begin() : counts.generated.end();

  std::vector<LogitAdjustment> all;
  constexpr int32_t kNone = std::numeric_limits<int32_t>::max();
  for (;;) {
    const int32_t id = std::min({seen != counts.seen.end() ? seen->first : kNone,
                                 generated != counts.generated.end() ? generated->first : kNone,
                                 bias != biases.cend() ? bias->first : kNone});
    if (id == kNone) return all;
    LogitAdjustment one{id, 1, 0};
    if (seen != counts.seen.end() && seen->first == id) {
      one.penalty = options.repetition_penalty;
      ++seen;
    }
    if (generated != counts.generated.end() && generated->first == id) {
      one.bias -= options.presence_penalty + options.frequency_penalty * static_cast<float>(generated->second);
      ++generated;
    }
    for (; bias != biases.cend() && bias->first == id; ++bias) one.bias += bias->second;
    all.push_back(one);
  }
}

LogitsRow row_to_draw_from(const SamplingOptions& options, int32_t vocabulary) {
  LogitsRow row{};
  row.candidate_limit = 1;
  if (options.temperature > 0) {
    row.factor = std::min(1 / options.temperature, kLargestFactor);
    const bool few = options.top_k > 0 && options.top_k <= kMaxLogitCandidates;
    row.candidate_limit = few ? options.top_k : kUsualCandidates;
  }
  row.candidate_limit = std::min(row.candidate_limit, vocabulary);
  return row;
}

LogitsRow row_to_describe(const float* logits, int32_t top_n, int32_t vocabulary) {
  LogitsRow row{};
  row.logits = logits;
  row.factor = 1;
  row.candidate_limit = std::min({std::max(top_n, 0), vocabulary, kMaxLogitCandidates});
  return row;
}

Distribution describe(const LogitsRow& row) {
  Distribution out;
  const LogitsSummary& summary = *row.summary;
  if (summary.finite == 0) {
    out.logsumexp = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  out.logsumexp = static_cast<double>(summary.peak) + std::log(summary.sum);
  out.entropy = static_cast<float>(std::log(summary.sum) - summary.weighted / summary.sum);
  for (int32_t i = 0; i < row.candidate_limit; ++i)
    out.top.emplace_back(row.candidates[i].id, out.logprob(row.candidates[i].logit));
  return out;
}

int32_t Sampler::draw(const LogitsRow& row, int32_t vocabulary, const SamplingOptions& options, uint64_t position) {
  if (row.summary->finite == 0) return -1;
  const int32_t best = row.candidates[0].id;
  if (options.temperature == 0) return best;

  // What each option keeps are the first tokens of one order, so the least sum of weights is that of what all of them keep.
  tokens_.begin(row, vocabulary);
  const uint64_t total = options.top_k > 0 ? tokens_.sum_of_first(static_cast<size_t>(options.top_k))
                                           : whole(row.summary->sum * kWeightOfPeak);
  uint64_t kept = total;
  if (options.top_p < 1) {
    // The first sum that reaches p is the first above one unit less.
    const uint64_t mass = whole(static_cast<double>(options.top_p) * static_cast<double>(total));
    kept = std::min(kept, tokens_.crossing(mass - 1).sum);
  }
  if (options.min_p > 0) kept = std::min(kept, tokens_.sum_from_exponent(std::log(options.min_p)));

  // The inverse of the distribution, likeliest first.
  const double share = uniform_draw(options.seed, position);
  const uint64_t target = std::min(static_cast<uint64_t>(share * static_cast<double>(kept)), kept - 1);
  const int32_t drawn = tokens_.crossing(target).id;
  // What rounding leaves after the last token is the first one's.
  return drawn >= 0 ? drawn : best;
}

}  // namespace lowrank
