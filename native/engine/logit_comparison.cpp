#include "engine/logit_comparison.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "engine/distribution_sums.h"

namespace lowrank {
namespace {

[[noreturn]] void not_finite(int32_t variant) {
  throw Error(ErrorCode::kInternal, "Expected finite logits of variant " + std::to_string(variant) +
                                        ", the model produced others. The weights or an adapter of it overflow.");
}

}  // namespace

LogitComparison::LogitComparison(int32_t variants, int32_t rows, int32_t vocabulary)
    : variants_(variants),
      rows_(rows),
      vocabulary_(vocabulary),
      logits_(sizeof(float) * static_cast<size_t>(variants) * static_cast<size_t>(rows) * static_cast<size_t>(vocabulary),
              Buffer::Pages::kSmall),
      filled_(static_cast<size_t>(variants), 0) {}

const float* LogitComparison::row(int32_t variant, int32_t row) const {
  return logits_.as<float>() + (int64_t{variant} * rows_ + row) * vocabulary_;
}

void LogitComparison::restart(int32_t variant) {
  std::lock_guard<std::mutex> lock(mutex_);
  filled_[static_cast<size_t>(variant)] = 0;
}

void LogitComparison::add(int32_t variant, const float* logits) {
  std::lock_guard<std::mutex> lock(mutex_);
  int32_t& filled = filled_[static_cast<size_t>(variant)];
  if (filled == rows_) return;
  float* to = logits_.as<float>() + (int64_t{variant} * rows_ + filled) * vocabulary_;
  std::memcpy(to, logits, sizeof(float) * static_cast<size_t>(vocabulary_));
  ++filled;
}

LogitDifferences LogitComparison::compare(int32_t reference, const std::vector<int32_t>& tokens) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const size_t count = tokens.size();
  for (const int32_t filled : filled_)
    if (static_cast<size_t>(filled) < count)
      throw Error(ErrorCode::kInvalidArgument,
                  "Expected " + std::to_string(count) + " rows of every variant, one has " + std::to_string(filled) + ".");

  LogitDifferences differences;
  differences.divergences.assign(static_cast<size_t>(variants_) * count, 0);
  differences.logprobs.resize(static_cast<size_t>(variants_) * count);
  differences.most_likely.resize(static_cast<size_t>(variants_) * count);
  std::vector<double> weights(static_cast<size_t>(vocabulary_)), others(static_cast<size_t>(vocabulary_));
  std::vector<double> logsumexps(static_cast<size_t>(variants_));
  for (size_t i = 0; i < count; ++i) {
    const auto at = [&](int32_t variant) { return static_cast<size_t>(variant) * count + i; };
    const float* reference_row = row(reference, static_cast<int32_t>(i));
    double reference_sum = 0;
    for (int32_t variant = 0; variant < variants_; ++variant) {
      const float* logits = row(variant, static_cast<int32_t>(i));
      const int32_t best = most_likely(logits, vocabulary_);
      if (best < 0) not_finite(variant);
      const double sum = exponentials(logits, vocabulary_, logits[best], variant == reference ? weights.data() : others.data());
      if (variant == reference) reference_sum = sum;
      logsumexps[static_cast<size_t>(variant)] = static_cast<double>(logits[best]) + std::log(sum);
      differences.most_likely[at(variant)] = best;
      differences.logprobs[at(variant)] =
          static_cast<double>(logits[tokens[i]]) - logsumexps[static_cast<size_t>(variant)];
    }
    for (int32_t variant = 0; variant < variants_; ++variant) {
      if (variant == reference) continue;
      const double difference =
          weighted_difference(weights.data(), reference_row, row(variant, static_cast<int32_t>(i)), vocabulary_);
      const double divergence = difference / reference_sum - logsumexps[static_cast<size_t>(reference)] +
                                logsumexps[static_cast<size_t>(variant)];
      if (!std::isfinite(divergence) || !std::isfinite(differences.logprobs[at(variant)])) not_finite(variant);
      differences.divergences[at(variant)] = std::max(0.0, divergence);
    }
  }
  return differences;
}

}  // namespace lowrank
