// Divergences and log-probabilities against the definition, computed plainly in long double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "core/philox.h"
#include "engine/exponential.h"
#include "engine/logit_comparison.h"

using namespace lowrank;

namespace {

using Row = std::vector<float>;

// From -spread to spread, the same for the same seed.
Row random_row(int32_t count, float spread, uint64_t seed) {
  Row row;
  for (int32_t i = 0; i < count; ++i)
    row.push_back(spread * (2 * static_cast<float>(uniform_draw(seed, static_cast<uint64_t>(i))) - 1));
  return row;
}

std::vector<long double> log_softmax(const Row& row) {
  const long double peak = *std::max_element(row.begin(), row.end());
  long double sum = 0;
  for (const float logit : row) sum += std::exp(logit - peak);
  std::vector<long double> out;
  for (const float logit : row) out.push_back(logit - peak - std::log(sum));
  return out;
}

double divergence_by_definition(const Row& a, const Row& b) {
  const auto p = log_softmax(a), q = log_softmax(b);
  long double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return static_cast<double>(sum);
}

}  // namespace

TEST("exponential in float64: within 2 ulp from 0 to -708, then 0") {
  for (int i = 0; i <= 20000; ++i) {
    const double x = -710.0 * i / 20000;
    const double expected = x > -708 ? std::exp(x) : 0;
    CHECK_NEAR(exp_of_negative(x), expected, 4.5e-16 * expected);
  }
  CHECK_EQ(exp_of_negative(0.0), 1.0);
  CHECK_EQ(exp_of_negative(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST("logit comparison: KL, log-probability and likeliest token by the definition") {
  uint64_t seed = 1;
  for (const int32_t vocabulary : {1, 2, 7, 63, 64, 65, 129, 1000, 49152})
    for (const float spread : {0.0f, 1e-3f, 1.0f, 30.0f, 3000.0f}) {
      constexpr int32_t kVariants = 3, kRows = 2;
      LogitComparison comparison(kVariants, kRows, vocabulary);
      std::vector<std::vector<Row>> rows(kVariants);
      for (int32_t variant = 0; variant < kVariants; ++variant)
        for (int32_t i = 0; i < kRows; ++i) {
          // The last is the first, a little changed: a small divergence.
          Row row = random_row(vocabulary, variant == 2 ? 1e-3f * spread : spread, seed++);
          if (variant == 2)
            for (size_t id = 0; id < row.size(); ++id) row[id] += rows[0][static_cast<size_t>(i)][id];
          comparison.add(variant, row.data());
          rows[static_cast<size_t>(variant)].push_back(std::move(row));
        }
      for (int32_t reference = 0; reference < kVariants; ++reference) {
        const std::vector<int32_t> tokens{0, vocabulary - 1};
        const LogitDifferences found = comparison.compare(reference, tokens);
        for (int32_t variant = 0; variant < kVariants; ++variant)
          for (int32_t i = 0; i < kRows; ++i) {
            const Row& row = rows[static_cast<size_t>(variant)][static_cast<size_t>(i)];
            const size_t at = static_cast<size_t>(variant * kRows + i);
            const double divergence = divergence_by_definition(rows[static_cast<size_t>(reference)][static_cast<size_t>(i)], row);
            CHECK_NEAR(found.divergences[at], divergence, 1e-11 * divergence + 2e-12);
            CHECK(found.divergences[at] >= 0);
            if (variant == reference) CHECK_EQ(found.divergences[at], 0.0);
            const auto token = static_cast<size_t>(tokens[static_cast<size_t>(i)]);
            CHECK_NEAR(found.logprobs[at], log_softmax(row)[token], 1e-12 * (1 + spread));
            CHECK_EQ(found.most_likely[at], static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
          }
      }
    }
}

TEST("logit comparison: equal rows differ by exactly 0; a token without probability counts for nothing") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Row row = random_row(1003, 20, 5);
  LogitComparison comparison(2, 1, 1003);
  for (const int32_t variant : {0, 1}) comparison.add(variant, row.data());
  CHECK_EQ(comparison.compare(0, {3}).divergences[1], 0.0);

  LogitComparison small(2, 1, 3);
  const Row without{0, -kInfinity, 0}, even{0, 0, 0};
  small.add(0, without.data());
  small.add(1, even.data());
  CHECK_NEAR(small.compare(0, {0}).divergences[1], std::log(1.5), 1e-15);
  // The other way round KL is infinite.
  CHECK_THROWS_CODE(small.compare(1, {0}), ErrorCode::kInternal);
}

TEST("logit comparison: too few rows, too many, none, and numbers that are none") {
  LogitComparison comparison(2, 2, 2);
  const Row row{0, 1}, nan{0, std::numeric_limits<float>::quiet_NaN()};
  CHECK_THROWS_CODE(comparison.compare(0, {0}), ErrorCode::kInvalidArgument);
  CHECK(comparison.compare(0, {}).divergences.empty());
  for (int i = 0; i < 5; ++i) comparison.add(0, row.data());
  CHECK_THROWS_CODE(comparison.compare(0, {0}), ErrorCode::kInvalidArgument);
  comparison.add(1, row.data());
  CHECK_EQ(comparison.compare(0, {0}).divergences.size(), size_t{2});
  CHECK_THROWS_CODE(comparison.compare(0, {0, 0}), ErrorCode::kInvalidArgument);
  comparison.restart(1);
  CHECK_THROWS_CODE(comparison.compare(0, {0}), ErrorCode::kInvalidArgument);
  comparison.add(1, nan.data());
  CHECK_THROWS_CODE(comparison.compare(0, {0}), ErrorCode::kInternal);
  CHECK_EQ(comparison.bytes(), size_t{2 * 2 * 2 * 4});
}
