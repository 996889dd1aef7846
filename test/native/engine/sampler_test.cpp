// The sampler on logits that are known: each option alone, ties, masks and numbers that are none.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "check.h"
#include "core/philox.h"
#include "engine/exponential.h"
#include "engine/sampler.h"
#include "ops/logits_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

int32_t draw(const std::vector<float>& logits, const SamplingOptions& options, uint64_t position = 0,
             const TokenCounts& counts = {}, const uint8_t* allowed = nullptr) {
  const auto vocabulary = static_cast<int32_t>(logits.size());
  const auto adjustments = logit_adjustments(options, counts);
  LogitsRow row = row_to_draw_from(options, vocabulary);
  row.logits = logits.data();
  row.adjustments = adjustments.data();
  row.adjustment_count = static_cast<int32_t>(adjustments.size());
  row.allowed = allowed;
  LogitsCase one(vocabulary);
  one.add(row);
  one.run(cpu_backend(), 1);
  Sampler sampler(cpu_backend());
  return sampler.draw(one.row(0), vocabulary, options, position);
}

Distribution described(const std::vector<float>& logits, int32_t top_n) {
  const auto vocabulary = static_cast<int32_t>(logits.size());
  LogitsCase one(vocabulary);
  one.add(row_to_describe(logits.data(), top_n, vocabulary));
  one.run(cpu_backend(), 1);
  return describe(one.row(0));
}

// The tokens that come up over many positions, with how often they do.
std::map<int32_t, int> draws(const std::vector<float>& logits, const SamplingOptions& options, int count) {
  std::map<int32_t, int> seen;
  for (int i = 0; i < count; ++i) ++seen[draw(logits, options, static_cast<uint64_t>(i))];
  return seen;
}

std::set<int32_t> tokens(const std::map<int32_t, int>& seen) {
  std::set<int32_t> out;
  for (const auto& [token, count] : seen) out.insert(token);
  return out;
}

SamplingOptions at_temperature(float temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  options.seed = 1;
  return options;
}

// exp of these are in proportion 8 : 4 : 2 : 1 : 1.
const std::vector<float> kHalving{std::log(2.0f), std::log(8.0f), std::log(1.0f), std::log(4.0f), std::log(1.0f)};

}  // namespace

TEST("sampler: greedy takes the highest, of equals the lowest id") {
  CHECK_EQ(draw({1, 3, 2}, {}), 1);
  CHECK_EQ(draw({3, 1, 3, 3}, {}), 0);
  CHECK_EQ(draw({-kInfinity, -5, -kInfinity}, {}), 1);
  CHECK_EQ(draw({7}, {}), 0);
}

TEST("sampler: frequencies follow the probabilities, at any temperature") {
  constexpr int kCount = 20000;
  for (const float temperature : {0.5f, 1.0f, 2.0f}) {
    auto seen = draws(kHalving, at_temperature(temperature), kCount);
    double total = 0;
    std::vector<double> weights;
    for (const float logit : kHalving) weights.push_back(std::exp(static_cast<double>(logit) / temperature));
    for (const double weight : weights) total += weight;
    for (size_t id = 0; id < kHalving.size(); ++id) {
      const double expected = kCount * weights[id] / total;
      CHECK_NEAR(seen[static_cast<int32_t>(id)], expected, 5 * std::sqrt(expected));
    }
  }
}

TEST("sampler: the draw is the inverse of the distribution, likeliest first") {
  const std::vector<int32_t> order{1, 3, 0, 2, 4};
  const double total = 16;
  for (uint64_t position = 0; position < 500; ++position) {
    double target = uniform_draw(1, position) * total;
    int32_t expected = -1;
    for (const int32_t id : order) {
      target -= std::exp(static_cast<double>(kHalving[static_cast<size_t>(id)]));
      if (target < 0 && expected < 0) expected = id;
    }
    CHECK_EQ(draw(kHalving, at_temperature(1), position), expected);
  }
}

TEST("sampler: top-k") {
  SamplingOptions options = at_temperature(5);
  options.top_k = 2;
  CHECK((tokens(draws(kHalving, options, 2000)) == std::set<int32_t>{1, 3}));
  options.top_k = 4;  // of the two equals, the lower id
  CHECK((tokens(draws(kHalving, options, 2000)) == std::set<int32_t>{0, 1, 2, 3}));
  options.top_k = 5;
  CHECK_EQ(draws(kHalving, options, 2000).size(), size_t{5});
}

TEST("sampler: top-p keeps the fewest that reach p") {
  SamplingOptions options = at_temperature(1);
  // Probabilities in sixteenths: 8, 4, 2, 1, 1.
  const std::vector<std::pair<float, size_t>> cases{{0.3f, 1}, {0.499f, 1}, {0.51f, 2}, {0.749f, 2}, {0.76f, 3}, {0.99f, 5}};
  for (const auto& [p, kept] : cases) {
    options.top_p = p;
    CHECK_EQ(draws(kHalving, options, 3000).size(), kept);
  }
}

TEST("sampler: min-p is relative to the highest") {
  SamplingOptions options = at_temperature(1);
  const std::vector<std::pair<float, size_t>> cases{{1.0f, 1}, {0.51f, 1}, {0.49f, 2}, {0.24f, 3}, {0.12f, 5}};
  for (const auto& [p, kept] : cases) {
    options.min_p = p;
    CHECK_EQ(draws(kHalving, options, 3000).size(), kept);
  }
}

TEST("sampler: penalties and bias") {
  TokenCounts counts;
  counts.seen = {{0, 1}, {1, 3}};
  counts.generated = {{1, 3}};
  SamplingOptions options;
  options.repetition_penalty = 2;
  CHECK_EQ(draw({-1, 3, 1.6f}, options, 0, counts), 2);   // 3 / 2 < 1.6
  CHECK_EQ(draw({-1, -3, -2}, options, 0, counts), 0);    // -1 * 2 = -2, the lower id
  options = {};
  options.presence_penalty = 2;
  CHECK_EQ(draw({0, 3, 1.1f}, options, 0, counts), 2);    // once, however often it was there
  CHECK_EQ(draw({0, 3.2f, 1.1f}, options, 0, counts), 1);
  options = {};
  options.frequency_penalty = 1;
  CHECK_EQ(draw({0, 3.2f, 0.3f}, options, 0, counts), 2);  // 3 times
  options = {};
  options.logit_bias = {{2, 10.0f}, {0, -10.0f}};
  CHECK_EQ(draw({9, 1, 0}, options), 2);
}

TEST("sampler: a mask forbids, at any temperature") {
  const std::vector<uint8_t> allowed{1, 0, 1, 0, 0};
  CHECK_EQ(draw(kHalving, {}, 0, {}, allowed.data()), 0);
  std::set<int32_t> seen;
  for (uint64_t position = 0; position < 500; ++position)
    seen.insert(draw(kHalving, at_temperature(3), position, {}, allowed.data()));
  CHECK((seen == std::set<int32_t>{0, 2}));
}

TEST("sampler: numbers that are none are told of") {
  for (const float temperature : {0.0f, 1.0f}) {
    CHECK_EQ(draw({1, kNan, 2}, at_temperature(temperature)), -1);
    CHECK_EQ(draw({kNan, 1, 2}, at_temperature(temperature)), -1);
    CHECK_EQ(draw({1, kInfinity, 2}, at_temperature(temperature)), -1);
    CHECK_EQ(draw({-kInfinity, -kInfinity}, at_temperature(temperature)), -1);
  }
}

TEST("sampler: logits far apart neither overflow nor vanish") {
  CHECK_EQ(draw({-3e38f, 3e38f, 0}, at_temperature(1)), 1);
  CHECK_EQ(draw({-3e38f, 3e38f, 0}, at_temperature(1e-30f)), 1);
  CHECK_EQ(draws({88, 87, -88}, at_temperature(100), 3000).size(), size_t{3});
}

TEST("sampler: the description of a distribution") {
  const Distribution description = described(kHalving, 4);
  CHECK_NEAR(description.logsumexp, std::log(16.0), 1e-6);
  // -sum p log p of 1/2, 1/4, 1/8, 1/16, 1/16
  CHECK_NEAR(description.entropy, 1.875 * std::log(2.0), 1e-6);
  CHECK_EQ(description.top.size(), size_t{4});
  const std::vector<int32_t> order{1, 3, 0, 2};
  for (size_t i = 0; i < order.size(); ++i) {
    CHECK_EQ(description.top[i].first, order[i]);
    CHECK_NEAR(description.top[i].second, -static_cast<double>(i + 1) * std::log(2.0), 1e-6);
    CHECK_EQ(description.top[i].second, description.logprob(kHalving[static_cast<size_t>(order[i])]));
  }
  CHECK_EQ(described(kHalving, 0).top.size(), size_t{0});
  CHECK_EQ(described(kHalving, 50).top.size(), size_t{5});
  // A distribution with certainty, and one whose sum would overflow.
  const std::vector<float> certain{-kInfinity, 2};
  CHECK_NEAR(described(certain, 0).entropy, 0, 1e-9);
  const std::vector<float> high{3e38f, 3e38f};
  CHECK_NEAR(described(high, 0).entropy, std::log(2.0), 1e-6);
}

TEST("sampler: a large vocabulary is drawn from as one by one, with every way of truncating") {
  // The definition: all weights, sorted, cut, summed, walked.
  const auto by_definition = [](const std::vector<float>& logits, const SamplingOptions& options, uint64_t position) {
    std::vector<std::pair<double, int32_t>> all;
    const double peak = *std::max_element(logits.begin(), logits.end());
    for (size_t id = 0; id < logits.size(); ++id)
      all.emplace_back(-std::exp((double{logits[id]} - peak) / double{options.temperature}), static_cast<int32_t>(id));
    std::sort(all.begin(), all.end());
    if (options.top_k > 0) all.resize(std::min(all.size(), static_cast<size_t>(options.top_k)));
    double total = 0, kept = 0;
    for (const auto& [weight, id] : all) total -= weight;
    size_t count = 0;
    while (count < all.size() && (count == 0 || kept < double{options.top_p} * total)) kept -= all[count++].first;
    if (options.top_p < 1) all.resize(count);
    std::erase_if(all, [&](const auto& one) { return -one.first < double{options.min_p}; });
    total = 0;
    for (const auto& [weight, id] : all) total -= weight;
    double target = uniform_draw(options.seed, position) * total;
    for (const auto& [weight, id] : all)
      if ((target += weight) < 0) return id;
    return all.back().second;
  };
  std::vector<float> logits(5003);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = 12 * static_cast<float>(uniform_draw(7, i) + uniform_draw(8, i) + uniform_draw(9, i) - 1.5);
  int same = 0, count = 0;
  for (const float temperature : {0.05f, 0.7f, 1.0f, 3.0f, 100.0f})
    for (const int32_t top_k : {0, 1, 40, 6000})
      for (const float top_p : {1.0f, 0.9f, 0.3f})
        for (const float min_p : {0.0f, 0.05f})
          for (uint64_t position = 0; position < 10; ++position, ++count) {
            SamplingOptions options = at_temperature(temperature);
            options.top_k = top_k;
            options.top_p = top_p;
            options.min_p = min_p;
            same += draw(logits, options, position) == by_definition(logits, options, position) ? 1 : 0;
          }
  // A draw within the rounding of a border may go to either side.
  CHECK(same >= count - 3);
  CHECK_EQ(count, 1200);
}

TEST("sampler: the exponential") {
  for (int i = 0; i <= 4000; ++i) {
    const float x = -87.5f * static_cast<float>(i) / 4000;
    const double expected = x > -87.0f ? std::exp(double{x}) : 0;
    CHECK_NEAR(exp_of_negative(x), expected, 2.5e-7 * expected);
  }
  CHECK_EQ(exp_of_negative(0.0f), 1.0f);
  CHECK_EQ(exp_of_negative(-kInfinity), 0.0f);
}
