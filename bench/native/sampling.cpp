#include "sampling.h"

#include <cmath>
#include <cstdio>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "core/philox.h"
#include "engine/sampler.h"
#include "timing.h"

namespace lowrank::bench {
namespace {

// As a model's often are: a bell around 0, and a few tokens far above it.
std::vector<float> logits_of(int32_t vocabulary) {
  constexpr double kDeviation = 2.5, kTwoPi = 6.283185307179586;
  constexpr int32_t kLikely = 30;
  std::vector<float> logits;
  for (uint64_t i = 0; i < static_cast<uint64_t>(vocabulary); ++i)
    logits.push_back(static_cast<float>(kDeviation * std::sqrt(-2 * std::log(1 - uniform_draw(1, 2 * i))) *
                                        std::cos(kTwoPi * uniform_draw(1, 2 * i + 1))));
  for (int32_t i = 0; i < kLikely; ++i)
    logits[static_cast<size_t>(int64_t{i} * 7919 % vocabulary)] = 16 - 0.5f * static_cast<float>(i);
  return logits;
}

struct Setting {
  const char* name;
  float temperature, top_p, repetition_penalty;
};
constexpr Setting kSettings[] = {{"greedy", 0, 1, 1},
                                 {"temperature 0.7, top-p 0.95", 0.7f, 0.95f, 1},
                                 {"the same, 500 tokens penalised", 0.7f, 0.95f, 1.1f},
                                 {"temperature 1.5", 1.5f, 1, 1},
                                 {"temperature 3", 3, 1, 1}};

}  // namespace

void measure_sampling(int32_t vocabulary, int threads) {
  constexpr int kDraws = 200;
  const std::vector<float> logits = logits_of(vocabulary);
  TokenCounts counts;
  for (int32_t i = 0; i < 500; ++i) counts.add(static_cast<int32_t>(int64_t{i} * 37 % vocabulary));
  std::vector<float> group_peaks(static_cast<size_t>(logit_groups(vocabulary))), sorted_peaks(group_peaks.size());
  std::vector<LogitsBlock> blocks(static_cast<size_t>(logit_blocks(vocabulary)));
  std::vector<LogitCandidate> candidates(kMaxLogitCandidates);
  LogitsSummary summary{};
  Sampler sampler(cpu_backend());
  std::printf("A row of %d logits, %d threads; medians of %d draws\n", vocabulary, threads, kDraws);
  for (const Setting& setting : kSettings) {
    SamplingOptions options;
    options.temperature = setting.temperature;
    options.top_p = setting.top_p;
    options.repetition_penalty = setting.repetition_penalty;
    std::vector<double> asked, found, drawn;
    double slowest = 0;
    for (uint64_t position = 0; position < kDraws; ++position) {
      const double begin = seconds_now();
      const auto adjustments = logit_adjustments(options, counts);
      LogitsRow row = row_to_draw_from(options, vocabulary);
      row.logits = logits.data();
      row.adjustments = adjustments.data();
      row.adjustment_count = static_cast<int32_t>(adjustments.size());
      row.summary = &summary;
      row.candidates = candidates.data();
      row.group_peaks = group_peaks.data();
      row.sorted_peaks = sorted_peaks.data();
      row.blocks = blocks.data();
      Program program;
      program.add<LogitsCandidatesArgs>(cpu_backend().ops().logits_blocks, {&row, 1, vocabulary});
      program.add<LogitsCandidatesArgs>(cpu_backend().ops().logits_candidates, {&row, 1, vocabulary});
      const double recorded = seconds_now();
      program.run(threads);
      const double ran = seconds_now();
      if (sampler.draw(row, vocabulary, options, position) < 0) return;
      const double end = seconds_now();
      asked.push_back(recorded - begin);
      found.push_back(ran - recorded);
      drawn.push_back(end - ran);
      slowest = std::max(slowest, end - ran);
    }
    std::printf("  %-32s asked %6.1f us, ops %6.1f us (least %6.1f), draw %6.1f us (longest %6.1f)\n", setting.name,
                spread_of(asked).median * 1e6, spread_of(found).median * 1e6, spread_of(found).min * 1e6,
                spread_of(drawn).median * 1e6, slowest * 1e6);
  }
}

}  // namespace lowrank::bench
