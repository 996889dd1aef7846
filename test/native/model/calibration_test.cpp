#include "model/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "engine/engine_case.h"
#include "model/model.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

RowReader reader_of(const std::vector<float>& weights, int32_t cols) {
  return [&weights, cols](int32_t row_begin, int32_t row_count, float* out) {
    std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(row_begin) * cols,
                static_cast<std::ptrdiff_t>(row_count) * cols, out);
  };
}

MatrixSpec choose(const std::vector<float>& input_rms, const std::vector<float>& weights, int32_t rows) {
  MatrixSpec spec = {rows, static_cast<int32_t>(input_rms.size()), weight_schemes(Precision::kInt8).lm_head};
  Calibration::choose_transform(input_rms, reader_of(weights, spec.cols), spec);
  // What it chooses, a backend takes.
  CHECK(cpu_backend().pack(spec, reader_of(weights, spec.cols), 1) != nullptr);
  return spec;
}

}  // namespace

TEST("model/calibration: the largest channels become outliers, in ascending order") {
  std::vector<float> rms(200, 1.0f);
  const std::vector<int32_t> large = {0, 7, 63, 64, 100, 128, 150, 199};
  for (size_t j = 0; j < large.size(); ++j)
    rms[static_cast<size_t>(large[j])] = 2.0f + static_cast<float>(j * 5 % 8);
  const MatrixSpec spec = choose(rms, std::vector<float>(3 * 200, 0.5f), 3);
  CHECK(spec.scheme.rotated);
  CHECK(spec.outliers == large);
}

TEST("model/calibration: few channels have fewer outliers, or none") {
  CHECK_EQ(choose(std::vector<float>(7, 1.0f), std::vector<float>(7, 1.0f), 1).outliers.size(), size_t{0});
  CHECK_EQ(choose(std::vector<float>(32, 1.0f), std::vector<float>(32, 1.0f), 1).outliers.size(), size_t{4});
}

TEST("model/calibration: a channel of large weights counts as much as one of large input") {
  std::vector<float> rms(64, 1.0f), weights(2 * 64, 0.5f);
  std::vector<int32_t> large;
  for (int32_t channel = 3; large.size() < 8; channel += 7) {
    large.push_back(channel);
    const auto k = static_cast<size_t>(channel);
    if (large.size() % 2 == 0)
      rms[k] = 10.0f;
    else
      weights[k] = weights[64 + k] = -5.0f;
  }
  rms[60] = 100.0f;  // meets weights of nearly zero
  weights[60] = weights[64 + 60] = 1e-3f;
  CHECK(choose(rms, weights, 2).outliers == large);
}

TEST("model/calibration: the smoothing is sqrt(rms(w) / sqrt(rms(x)^2 + median^2)), from 1/64 to 64, and 1 where it is none") {
  const auto smoothing = [](const std::vector<float>& rms) {
    std::vector<float> weights;
    for (int n = 0; n < 2500; ++n)  // more rows than are sampled
      for (size_t k = 0; k < rms.size(); ++k)
        weights.push_back(k == 4 ? 0.0f : n % 2 == 0 ? 0.5f : -0.5f);
    return choose(rms, weights, 2500).smoothing;
  };
  const auto expect = [](const std::vector<float>& actual, const std::vector<double>& expected) {
    CHECK_EQ(actual.size(), expected.size());
    for (size_t k = 0; k < expected.size(); ++k)
      CHECK_NEAR(actual[k], expected[k], 1e-6 * expected[k]);
  };
  // The median of these is 1.
  expect(smoothing({1.0f, 4.0f, 0.25f, 0.0f, 1.0f, 1e-20f, 1e20f, 2.0f}),
         {std::sqrt(0.5 / std::sqrt(2.0)), std::sqrt(0.5 / std::sqrt(17.0)), std::sqrt(0.5 / std::sqrt(1.0625)), std::sqrt(0.5),
          1, std::sqrt(0.5), 1.0 / 64, std::sqrt(0.5 / std::sqrt(5.0))});
  // The median of these is 0, or next to it.
  expect(smoothing({0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 1.0f}), {1, 1, 1, 1, 1, std::sqrt(0.5)});
  expect(smoothing({1e-9f, 1e-9f, 1e-9f, 1e-9f, 1e-9f, 1.0f}), {64, 64, 64, 64, 1, std::sqrt(0.5)});
}

TEST("model/calibration: an input that is not finite still gives a transform that a backend takes") {
  std::vector<float> rms(64, std::numeric_limits<float>::quiet_NaN());
  for (size_t k = 0; k < rms.size(); k += 3)
    rms[k] = k % 2 == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(k);
  const MatrixSpec spec = choose(rms, std::vector<float>(2 * 64, 1.0f), 2);
  CHECK_EQ(spec.outliers.size(), size_t{8});
}

TEST("model/calibration: the tokens of the text are what calibrates, and ids that the model lacks are no trouble") {
  const auto checksum = [](const std::vector<int32_t>& ids) {
    WeightsOptions options;
    options.calibration_ids = [&] { return ids; };
    return Model::load(tiny_path("tiny-models/llama"), cpu_backend(), options)->checksum();
  };
  CHECK_EQ(checksum({5, 6, 7}), checksum({5, 6, 7}));
  CHECK(checksum({5, 6, 7}) != checksum({8, 9, 10}));
  CHECK(checksum({5, 6, 7}) != checksum({}));
  // An id beyond the vocabulary of 272 counts from the beginning again.
  CHECK_EQ(checksum({INT32_MAX, 0, INT32_MAX - 1}), checksum({INT32_MAX % 272, 0, (INT32_MAX - 1) % 272}));
  CHECK(checksum({INT32_MAX, 0, INT32_MAX - 1}) != checksum({0, 0, 0}));
}
