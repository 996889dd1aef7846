#include "model/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
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
  MatrixSpec spec = {rows, static_cast<int32_t>(input_rms.size()), WeightFormat::kInt8, ActivationFormat::kInt8};
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
  CHECK(spec.rotated);
  CHECK(spec.outliers == large);
}

TEST("model/calibration: few channels have fewer outliers, or none") {
  CHECK_EQ(choose(std::vector<float>(7, 1.0f), std::vector<float>(7, 1.0f), 1).outliers.size(), size_t{0});
  CHECK_EQ(choose(std::vector<float>(32, 1.0f), std::vector<float>(32, 1.0f), 1).outliers.size(), size_t{4});
}

TEST("model/calibration: the smoothing is sqrt(rms(w) / rms(x)), from 1/64 to 64, and 1 where it is none") {
  std::vector<float> rms = {1.0f, 4.0f, 0.25f, 0.0f, 1.0f, 1e-20f, 1e20f, 2.0f};
  std::vector<float> weights;
  for (int n = 0; n < 2500; ++n)  // more rows than are sampled
    for (size_t k = 0; k < rms.size(); ++k)
      weights.push_back(k == 4 ? 0.0f : n % 2 == 0 ? 0.5f : -0.5f);
  const MatrixSpec spec = choose(rms, weights, 2500);
  const double expected[] = {std::sqrt(0.5), std::sqrt(0.125), std::sqrt(2.0), 1, 1, 64, 1.0 / 64, 0.5};
  CHECK_EQ(spec.smoothing.size(), rms.size());
  for (size_t k = 0; k < rms.size(); ++k)
    CHECK_NEAR(spec.smoothing[k], expected[k], 1e-6 * expected[k]);
}

TEST("model/calibration: an input that is not finite still gives a transform that a backend takes") {
  std::vector<float> rms(64, std::numeric_limits<float>::quiet_NaN());
  for (size_t k = 0; k < rms.size(); k += 3)
    rms[k] = k % 2 == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(k);
  const MatrixSpec spec = choose(rms, std::vector<float>(2 * 64, 1.0f), 2);
  CHECK_EQ(spec.outliers.size(), size_t{8});
}
