#include "ops/rmsnorm_add.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kEpsilon = 1e-6f;

// x += multiplier * norm(y) * gain; every third row has a gain of its own where `own_gains`. Not `normed`: x += multiplier * y.
struct NormAdd {
  NormAdd(int32_t rows_, int32_t width_, bool own_gains_, bool normed_ = true, float multiplier_ = 1)
      : rows(rows_),
        width(width_),
        own_gains(own_gains_),
        normed(normed_),
        multiplier(multiplier_),
        random(static_cast<uint64_t>(rows * 1000 + width)),
        y(random.floats(elements(), -4.0f, 4.0f)),
        x(random.floats(elements(), -1.0f, 1.0f)),
        gain(random.floats(static_cast<size_t>(width), -2.0f, 2.0f)),
        own_gain(random.floats(static_cast<size_t>(width), -2.0f, 2.0f)) {}

  size_t elements() const { return static_cast<size_t>(rows) * static_cast<size_t>(width); }

  std::vector<float> run(const Backend& backend, int32_t begin, int32_t end, int parts) const {
    const Unaligned y_store(y), x_store(x), gain_store(gain), own_store(own_gain);
    std::vector<const float*> gains(static_cast<size_t>(rows), nullptr);
    for (size_t m = 0; m < gains.size(); m += 3)
      gains[m] = own_store.data();
    const size_t offset = static_cast<size_t>(begin) * static_cast<size_t>(width);
    run_parts(backend.ops().rmsnorm_add,
              RmsNormAddArgs{y_store.data() + offset, x_store.data() + offset, end - begin, width,
                             normed ? gain_store.data() : nullptr, kEpsilon, own_gains ? gains.data() + begin : nullptr,
                             multiplier},
              parts);
    return std::vector<float>(x_store.data() + offset,
                              x_store.data() + static_cast<size_t>(end) * static_cast<size_t>(width));
  }

  std::string text() const { return "M " + std::to_string(rows) + ", width " + std::to_string(width); }

  int32_t rows, width;
  bool own_gains, normed;
  float multiplier;
  Random random;
  std::vector<float> y, x, gain, own_gain;
};

std::vector<NormAdd> all_cases() {
  std::vector<NormAdd> all;
  const int32_t sizes[][2] = {{1, 1}, {2, 3}, {7, 65}, {17, 64}, {3, 577}};
  for (const auto& s : sizes)
    for (const bool own_gains : {false, true}) {
      all.emplace_back(s[0], s[1], own_gains);
      all.emplace_back(s[0], s[1], own_gains, true, 0.22f);
      all.emplace_back(s[0], s[1], false, false, own_gains ? 0.22f : 1.0f);
    }
  return all;
}

}  // namespace

TEST("ops/rmsnorm_add: the equation") {
  for (const Backend* backend : available_backends())
    for (const NormAdd& one : all_cases()) {
      const std::vector<float> out = one.run(*backend, 0, one.rows, 1);
      const auto width = static_cast<size_t>(one.width);
      for (size_t i = 0; i < out.size(); ++i) {
        const size_t m = i / width;
        double squares = 0;
        for (size_t k = 0; k < width; ++k)
          squares += double{one.y[m * width + k]} * one.y[m * width + k];
        const float gain = (one.own_gains && m % 3 == 0 ? one.own_gain : one.gain)[i % width];
        const double norm = one.normed ? gain / std::sqrt(squares / one.width + double{kEpsilon}) : 1;
        const double added = double{one.multiplier} * one.y[i] * norm;
        expect_near(label(*backend, one.text()), i, out[i], one.x[i] + added,
                    3e-6 * std::fabs(added) + kFloatEpsilon * std::fabs(one.x[i]));
      }
    }
}

TEST("ops/rmsnorm_add: bit-identical for any number of parts, and for a row alone") {
  for (const Backend* backend : available_backends())
    for (const NormAdd& one : all_cases()) {
      const std::vector<float> whole = one.run(*backend, 0, one.rows, 1);
      for (int parts = 2; parts <= 4; ++parts)
        expect_same_bits(label(*backend, one.text()), one.run(*backend, 0, one.rows, parts), whole);
      for (int32_t m = 0; m < one.rows; ++m)
        expect_same_bits(
            label(*backend, one.text() + " alone"), one.run(*backend, m, m + 1, 1),
            std::vector<float>(whole.begin() + m * one.width, whole.begin() + (m + 1) * one.width));
    }
}

TEST("ops/rmsnorm_add: NaN and zero rows") {
  for (const Backend* backend : available_backends()) {
    NormAdd one(3, 65, false);
    for (size_t k = 0; k < 65; ++k)
      one.y[65 + k] = 0.0f;
    one.y[2 * 65 + 64] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> out = one.run(*backend, 0, 3, 1);
    for (size_t k = 0; k < 65; ++k) {
      expect_near(label(*backend, "a zero row"), k, out[65 + k], one.x[65 + k], 0);
      CHECK(std::isnan(out[2 * 65 + k]));
      CHECK(std::isfinite(out[k]));
    }
  }
}
