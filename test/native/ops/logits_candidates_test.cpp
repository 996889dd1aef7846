// The peak, the sums and the candidates of rows of logits, against a plain computation in double over the whole row.
#include "ops/logits_candidates.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "check.h"
#include "ops/logits_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLargest = std::numeric_limits<float>::max();

struct Input {
  std::string name;
  std::vector<float> logits;
  std::vector<LogitAdjustment> adjustments = {};
  std::vector<uint8_t> allowed = {};
  float factor = 1;

  LogitsRow row(int32_t candidate_limit) const {
    LogitsRow row{};
    row.logits = logits.data();
    row.adjustments = adjustments.empty() ? nullptr : adjustments.data();
    row.adjustment_count = static_cast<int32_t>(adjustments.size());
    row.allowed = allowed.empty() ? nullptr : allowed.data();
    row.factor = factor;
    row.candidate_limit = std::min(candidate_limit, size());
    return row;
  }
  int32_t size() const { return static_cast<int32_t>(logits.size()); }
  std::vector<float> adjusted() const {
    std::vector<float> x = logits;
    for (const LogitAdjustment& one : adjustments) {
      float& logit = x[static_cast<size_t>(one.id)];
      logit = (logit > 0 ? logit / one.penalty : logit * one.penalty) + one.bias;
    }
    for (size_t i = 0; i < allowed.size(); ++i)
      if (allowed[i] == 0) x[i] = -kInfinity;
    return x;
  }
};

// Both ops' results as the contract has them.
void expect_contract(const Backend& backend, const Input& input, const LogitsRow& row) {
  const std::string what = label(backend, input.name + ", k " + std::to_string(row.candidate_limit));
  const std::vector<float> x = input.adjusted();
  std::vector<int32_t> order;
  float peak = -kInfinity;
  bool finite = true;
  for (int32_t id = 0; id < input.size(); ++id) {
    const float value = x[static_cast<size_t>(id)];
    order.push_back(id);
    peak = std::max(peak, value);
    finite = finite && !std::isnan(value);
  }
  finite = finite && std::isfinite(peak);
  if ((row.summary->finite != 0) != finite) fail(__FILE__, __LINE__, what + ": finite");
  if (!finite) return;
  expect_near(what + " peak", 0, row.summary->peak, peak, 0);

  double sum = 0, weighted = 0;
  for (const float value : x) {
    const double exponent = static_cast<double>((value - peak) * input.factor);
    const double weight = std::exp(exponent);
    sum += weight;
    if (weight > 0) weighted += exponent * weight;
  }
  expect_near(what + " sum", 0, row.summary->sum, input.factor == 0 ? 0 : sum, 2e-6 * sum);
  expect_near(what + " weighted", 0, row.summary->weighted, input.factor == 0 ? 0 : weighted, 2e-6 * (sum + std::fabs(weighted)));

  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const float left = x[static_cast<size_t>(a)], right = x[static_cast<size_t>(b)];
    return left > right || (left == right && a < b);
  });
  for (int32_t i = 0; i < row.candidate_limit; ++i) {
    const int32_t id = order[static_cast<size_t>(i)];
    if (row.candidates[i].id != id || row.candidates[i].logit != x[static_cast<size_t>(id)])
      fail(__FILE__, __LINE__, what + ": candidate " + std::to_string(i) + " is " + std::to_string(row.candidates[i].id) +
                                   " and not " + std::to_string(id));
  }
  for (int32_t group = 0; group < logit_groups(input.size()); ++group) {
    const auto begin = x.begin() + group * kLogitGroup;
    if (row.group_peaks[group] != *std::max_element(begin, begin + std::min(kLogitGroup, input.size() - group * kLogitGroup)))
      fail(__FILE__, __LINE__, what + ": peak of group " + std::to_string(group));
  }
}

std::vector<Input> all_inputs() {
  std::vector<Input> all;
  for (const int32_t size : {1, 2, 15, 16, 17, 63, 64, 65, 127, 1023, 1024, 1025, 3001, 49153}) {
    Random random(static_cast<uint64_t>(size));
    const auto count = static_cast<size_t>(size);
    const auto add = [&](const char* name, std::vector<float> logits) {
      all.push_back({std::string(name) + ", " + std::to_string(size), std::move(logits)});
      return &all.back();
    };
    add("uniform", random.floats(count, -20, 20));
    std::vector<float> peaked(count);
    for (float& value : peaked) value = random.uniform(-1, 1) + random.uniform(-1, 1) * random.uniform(0, 30);
    add("peaked", peaked);
    add("peaked, hot", peaked)->factor = 1 / 1.5f;
    add("peaked, cold", peaked)->factor = 50;
    add("peaked, next to 0", peaked)->factor = 1e30f;
    add("greedy", peaked)->factor = 0;
    add("equal", std::vector<float>(count, 3.5f));
    std::vector<float> few = peaked;  // many ties
    for (float& value : few) value = std::round(value);
    add("ties", few);
    add("ascending", [&] {
      std::vector<float> values(count);
      for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i) * 1e-3f;
      return values;
    }());
    add("far apart", [&] {
      std::vector<float> values = random.floats(count, -kLargest, kLargest);
      values[count / 2] = kLargest;
      return values;
    }());
    std::vector<float> forbidden(count, -kInfinity);
    forbidden[count - 1] = -4;
    add("one is possible", forbidden);
    for (const float wrong : {kNan, kInfinity, -kNan}) {
      std::vector<float> values = peaked;
      values[random.bits() % count] = wrong;
      add("wrong", values);
    }
    add("none is possible", std::vector<float>(count, -kInfinity));

    std::vector<LogitAdjustment> adjustments;
    for (int32_t id = 0; id < size; ++id)
      if (random.bits() % 3 == 0 || size < 3)
        adjustments.push_back({id, random.uniform(0.5f, 2), id % 2 == 0 ? 0 : random.uniform(-5, 5)});
    add("adjusted", peaked)->adjustments = adjustments;
    Input* huge = add("huge penalties", peaked);
    for (int32_t id = 0; id < size; id += 2) huge->adjustments.push_back({id, 1e30f, id % 4 == 0 ? -1e30f : 1e9f});
    std::vector<uint8_t> allowed(count, 0);
    for (size_t i = 0; i < count; ++i) allowed[i] = i % 7 == 3 || i + 1 == count ? 1 : 0;
    Input* masked = add("masked and adjusted", peaked);
    masked->adjustments = adjustments;
    masked->allowed = allowed;
    Input* mended = add("a NaN that is not allowed", peaked);
    mended->allowed = allowed;
    mended->logits[0] = size > 1 ? kNan : 0;
    Input* none = add("nothing allowed", peaked);
    none->allowed.assign(count, 0);
  }
  return all;
}

bool same(const LogitsRow& a, const LogitsRow& b) {
  const auto bits = [](double value) { return std::bit_cast<uint64_t>(value); };
  if (a.summary->finite != b.summary->finite) return false;
  if (a.summary->finite == 0) return true;
  return bits(a.summary->sum) == bits(b.summary->sum) && bits(a.summary->weighted) == bits(b.summary->weighted) &&
         a.summary->peak == b.summary->peak &&
         std::equal(a.candidates, a.candidates + a.candidate_limit, b.candidates,
                    [](const LogitCandidate& x, const LogitCandidate& y) { return x.id == y.id && x.logit == y.logit; });
}

}  // namespace

TEST("ops/logits_candidates: peaks, sums and candidates of odd vocabularies") {
  const std::vector<Input> inputs = all_inputs();
  for (const Backend* backend : available_backends())
    for (const Input& input : inputs)
      for (const int32_t limit : {0, 1, 2, 50, 64, kMaxLogitCandidates}) {
        LogitsCase one(input.size());
        one.add(input.row(limit));
        one.run(*backend, 1);
        expect_contract(*backend, input, one.row(0));
      }
}

TEST("ops/logits_candidates: bit-identical for any number of parts, and for a row alone") {
  std::vector<Input> inputs;
  for (Input& input : all_inputs())
    if (input.size() == 3001) inputs.push_back(std::move(input));
  for (const Backend* backend : available_backends()) {
    LogitsCase together(3001);
    for (const Input& input : inputs) together.add(input.row(40));
    together.run(*backend, 1);
    for (const int parts : {2, 3, 4, 7, 100}) {
      LogitsCase split_up(3001);
      for (const Input& input : inputs) split_up.add(input.row(40));
      split_up.run(*backend, parts);
      for (size_t i = 0; i < inputs.size(); ++i)
        if (!same(together.row(i), split_up.row(i))) fail(__FILE__, __LINE__, label(*backend, inputs[i].name));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      LogitsCase alone(3001);
      alone.add(inputs[i].row(40));
      alone.run(*backend, 2);
      if (!same(together.row(i), alone.row(0))) fail(__FILE__, __LINE__, label(*backend, inputs[i].name + " alone"));
    }
  }
}

TEST("ops/logits_candidates: a peak, a NaN and an infinity are found wherever they are") {
  for (const Backend* backend : available_backends())
    for (const int32_t size : {1, 16, 17, 100, 1030})
      for (int32_t at = 0; at < size; ++at) {
        const auto found = [&](float value) {
          std::vector<float> logits(static_cast<size_t>(size), -1);
          logits[static_cast<size_t>(at)] = value;
          LogitsCase one(size);
          LogitsRow row{};
          row.logits = logits.data();
          row.candidate_limit = 1;
          one.add(row);
          one.run(*backend, 1);
          return one.row(0).summary->finite != 0 ? one.row(0).candidates[0].id : -1;
        };
        CHECK_EQ(found(9), at);
        CHECK_EQ(found(kNan), -1);
        CHECK_EQ(found(kInfinity), -1);
        CHECK_EQ(found(-kInfinity), size == 1 ? -1 : (at == 0 ? 1 : 0));
      }
}
