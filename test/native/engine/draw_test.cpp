// Draws over many random rows: the token is that of the whole vocabulary sorted, however many candidates the op gave, and the
// same for any number of parts and rows beside it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "core/philox.h"
#include "engine/sampler.h"
#include "ops/logits_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

struct Draw {
  std::vector<float> logits;
  SamplingOptions options;
  TokenCounts counts;
  std::vector<uint8_t> allowed;
  uint64_t position;
  std::vector<LogitAdjustment> adjustments = {};

  LogitsRow row() {
    adjustments = logit_adjustments(options, counts);
    LogitsRow row = row_to_draw_from(options, vocabulary());
    row.logits = logits.data();
    row.adjustments = adjustments.data();
    row.adjustment_count = static_cast<int32_t>(adjustments.size());
    row.allowed = allowed.empty() ? nullptr : allowed.data();
    return row;
  }
  int32_t vocabulary() const { return static_cast<int32_t>(logits.size()); }
};

// Logits of many shapes, with any options.
Draw random_draw(uint64_t seed) {
  Random random(seed);
  const auto one_of = [&](std::initializer_list<float> values) { return values.begin()[random.bits() % values.size()]; };
  Draw draw;
  draw.position = seed;
  const int32_t size = random.integer(1, 3000);
  const float spread = one_of({0, 0.01f, 1, 4, 12, 100});
  const bool ties = random.bits() % 4 == 0;
  for (int32_t i = 0; i < size; ++i) {
    const float value = spread * (random.uniform(-1, 1) + random.uniform(-1, 1) + random.uniform(-1, 1));
    draw.logits.push_back(ties ? std::round(value) : value);
  }
  SamplingOptions& options = draw.options;
  options.seed = seed;
  options.temperature = one_of({0, 0.1f, 0.7f, 1, 1.5f, 5, 100});
  options.top_k = static_cast<int32_t>(one_of({0, 0, 1, 5, 64, 65, 256, 257, 700, 5000}));
  options.top_p = one_of({1, 1, 0.95f, 0.999f, 0.5f, 0.01f, 0});
  options.min_p = one_of({0, 0, 0.05f, 0.001f, 1e-9f, 1});
  options.repetition_penalty = one_of({1, 1, 1.1f, 0.5f, 100});
  options.presence_penalty = one_of({0, 0, 1, -1});
  options.frequency_penalty = one_of({0, 0, 0.2f});
  for (int32_t i = random.integer(0, 40); i > 0; --i) draw.counts.add(random.integer(0, size - 1));
  for (int32_t i = random.integer(-20, 20); i > 0; --i)
    options.logit_bias.emplace_back(random.integer(0, size - 1), random.uniform(-10, 10));
  if (random.bits() % 3 == 0) {
    for (int32_t i = 0; i < size; ++i) draw.allowed.push_back(random.bits() % 2 == 0 ? 1 : 0);
    draw.allowed[random.bits() % draw.allowed.size()] = 1;
  }
  return draw;
}

// The definition: every token, sorted; sums from the first on, of exponentials by the C library; `total` as the op has it where
// nothing else says what all is. What is drawn, and the mass that top-p keeps, are moved by such parts of themselves.
int32_t by_definition(const Draw& draw, double total_of_op, double target_moved = 0, double mass_moved = 0) {
  const SamplingOptions& options = draw.options;
  struct Token {
    float logit;
    int32_t id;
    uint64_t sum;
  };
  std::vector<Token> tokens;
  for (int32_t id = 0; id < draw.vocabulary(); ++id) tokens.push_back({draw.logits[static_cast<size_t>(id)], id, 0});
  for (const auto& [id, count] : draw.counts.seen) {
    float& logit = tokens[static_cast<size_t>(id)].logit;
    logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
  }
  std::vector<float> added(tokens.size(), 0);
  for (const auto& [id, count] : draw.counts.generated)
    added[static_cast<size_t>(id)] -= options.presence_penalty + options.frequency_penalty * static_cast<float>(count);
  for (const auto& [id, bias] : options.logit_bias) added[static_cast<size_t>(id)] += bias;
  for (Token& token : tokens) {
    const auto id = static_cast<size_t>(token.id);
    const bool allowed = draw.allowed.empty() || draw.allowed[id] != 0;
    token.logit = allowed ? token.logit + added[id] : -std::numeric_limits<float>::infinity();
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const Token& a, const Token& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); });
  if (options.temperature == 0) return tokens[0].id;
  const float factor = 1 / options.temperature;
  const auto exponent = [&](const Token& token) { return (token.logit - tokens[0].logit) * factor; };
  uint64_t sum = 0;
  for (Token& token : tokens) token.sum = sum += static_cast<uint64_t>(std::exp(double{exponent(token)}) * 0x1p42);
  uint64_t total = static_cast<uint64_t>(std::ceil(total_of_op * 0x1p42));
  if (options.top_k > 0) {
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(options.top_k)));
    total = tokens.back().sum;
  }
  uint64_t kept = total;
  if (options.top_p < 1) {
    const double mass = std::ceil(double{options.top_p} * static_cast<double>(total) * (1 + mass_moved));
    size_t count = 1;
    while (count < tokens.size() && static_cast<double>(tokens[count - 1].sum) < mass) ++count;
    kept = std::min(kept, tokens[count - 1].sum);
  }
  if (options.min_p > 0) {
    size_t count = 1;
    while (count < tokens.size() && exponent(tokens[count]) >= std::log(options.min_p)) ++count;
    kept = std::min(kept, tokens[count - 1].sum);
  }
  const auto target = static_cast<uint64_t>(uniform_draw(options.seed, draw.position) * static_cast<double>(kept) * (1 + target_moved));
  for (const Token& token : tokens)
    if (token.sum > std::min(target, kept - 1)) return token.id;
  return tokens[0].id;
}

// Whether it is what the definition draws with exponentials that are off by a few roundings of float32.
bool next_to_definition(int32_t drawn, const Draw& draw, double total_of_op) {
  constexpr double kMoved = 1e-6;
  for (const double target : {-kMoved, 0.0, kMoved})
    for (const double mass : {-kMoved, 0.0, kMoved})
      if (by_definition(draw, total_of_op, target, mass) == drawn) return true;
  return false;
}

}  // namespace

TEST("draw: equals that of the sorted vocabulary, with few candidates and with many") {
  Sampler sampler(cpu_backend());
  int behind_the_first = 0;
  int on_a_border = 0;
  for (uint64_t seed = 1; seed <= 6000; ++seed) {
    Draw draw = random_draw(seed);
    const LogitsRow row = draw.row();
    LogitsCase one(draw.vocabulary());
    one.add(row);
    for (const int32_t limit : {1, 10, kMaxLogitCandidates}) {
      LogitsRow other = row;
      other.candidate_limit = std::min(limit, draw.vocabulary());
      one.add(other);
    }
    one.run(cpu_backend(), 1);
    const int32_t expected = by_definition(draw, one.row(0).summary->sum);
    for (size_t i = 0; i < 4; ++i) {
      const int32_t drawn = sampler.draw(one.row(i), draw.vocabulary(), draw.options, draw.position);
      if (drawn == expected) continue;
      if (next_to_definition(drawn, draw, one.row(0).summary->sum))
        ++on_a_border;
      else
        fail(__FILE__, __LINE__, "seed " + std::to_string(seed) + ", candidates " + std::to_string(one.row(i).candidate_limit) +
                                     ": " + std::to_string(drawn) + " and not " + std::to_string(expected));
    }
    if (draw.options.temperature > 0 && expected != one.row(0).candidates[0].id) ++behind_the_first;
  }
  CHECK(behind_the_first > 1000);
  CHECK(on_a_border <= 8);  // of 24000
}

TEST("draw: the same for every number of parts, with other rows beside it") {
  Sampler sampler(cpu_backend());
  for (const Backend* backend : available_backends())
    for (uint64_t seed = 1; seed <= 300; ++seed) {
      Draw draw = random_draw(seed);
      if (draw.vocabulary() < 1100) continue;
      const LogitsRow row = draw.row();
      int32_t first = -2;
      for (int parts = 1; parts <= 4; ++parts) {
        LogitsCase one(draw.vocabulary());
        for (int i = 0; i < parts; ++i) one.add(row);
        one.run(*backend, parts);
        const LogitsRow& last = one.row(static_cast<size_t>(parts - 1));
        const int32_t drawn = sampler.draw(last, draw.vocabulary(), draw.options, draw.position);
        if (first == -2) first = drawn;
        CHECK_EQ(drawn, first);
      }
    }
}

TEST("draw: what rounding leaves behind the last token is the first one's") {
  // A sum that claims more than all tokens have.
  const std::vector<float> logits{0, 1, -1};
  SamplingOptions options;
  options.temperature = 1;
  LogitsCase one(3);
  LogitsRow row = row_to_draw_from(options, 3);
  row.logits = logits.data();
  one.add(row);
  one.run(cpu_backend(), 1);
  one.row(0).summary->sum = 1e6;
  Sampler sampler(cpu_backend());
  int first = 0;
  for (uint64_t position = 0; position < 100; ++position) first += sampler.draw(one.row(0), 3, options, position) == 1 ? 1 : 0;
  CHECK_EQ(first, 100);
}

TEST("draw: counts and biases become adjustments, one a token, ascending") {
  TokenCounts counts;
  counts.seen = CountByToken::of({9, 4, 9, 2});
  counts.add(9);
  counts.add(7);
  SamplingOptions options;
  CHECK(logit_adjustments(options, counts).empty());
  options.repetition_penalty = 1.5f;
  options.presence_penalty = 1;
  options.frequency_penalty = 0.25f;
  options.logit_bias = {{8, 2.0f}, {9, 3.0f}, {1, 5.0f}, {8, 0.5f}};
  const auto all = logit_adjustments(options, counts);
  const std::vector<LogitAdjustment> expected{{1, 1, 5},     {2, 1.5f, 0}, {4, 1.5f, 0},
                                              {7, 1.5f, -1.25f}, {8, 1, 2.5f}, {9, 1.5f, 1.75f}};
  CHECK_EQ(all.size(), expected.size());
  for (size_t i = 0; i < std::min(all.size(), expected.size()); ++i) {
    CHECK_EQ(all[i].id, expected[i].id);
    CHECK_EQ(all[i].penalty, expected[i].penalty);
    CHECK_EQ(all[i].bias, expected[i].bias);
  }
}
