#include "ops/transform_case.h"

#include <bit>
#include <cmath>
#include <set>

namespace lowrank::test {
namespace {

// The product of each block of 64 with the matrix of `entry`.
template <class Entry>
std::vector<double> by_blocks(const std::vector<double>& v, Entry entry) {
  std::vector<double> out(v.size(), 0.0);
  for (size_t begin = 0; begin < v.size(); begin += kRotationBlock)
    for (int32_t i = 0; i < kRotationBlock; ++i)
      for (int32_t j = 0; j < kRotationBlock; ++j)
        out[begin + static_cast<size_t>(i)] += entry(i, j) * v[begin + static_cast<size_t>(j)];
  return out;
}

}  // namespace

double rotation_entry(int32_t i, int32_t j) {
  return std::popcount(static_cast<uint32_t>(i & j)) % 2 == 0 ? 0.125 : -0.125;
}

std::string TransformKind::text() const {
  return std::string(outliers ? ", outliers" : "") + (smoothed ? ", smoothed" : "") + (rotated ? ", rotated" : "");
}

std::vector<TransformKind> transform_kinds() {
  return {{}, {true, false, false}, {false, true, false}, {false, false, true}, {true, true, true}};
}

InputTransform TestTransform::view() const {
  return {smoothing.empty() ? nullptr : smoothing_store.data(), rotated, static_cast<int32_t>(outliers.size()),
          outliers.empty() ? nullptr : outliers.data()};
}

MatrixSpec TestTransform::spec(int32_t rows) const {
  MatrixSpec spec = {rows, cols, WeightFormat::kInt8, ActivationFormat::kInt8, group};
  spec.set_transform(rotated, outliers, smoothing);
  return spec;
}

std::vector<double> TestTransform::input(const std::vector<double>& u) const {
  std::vector<double> v(u);
  v.resize(static_cast<size_t>(round_up(cols, kActivationAlignment)), 0.0);
  for (const int32_t channel : outliers)
    v[static_cast<size_t>(channel)] = 0;
  for (size_t k = 0; k < smoothing.size(); ++k)
    v[k] *= double{smoothing[k]};
  return rotated ? by_blocks(v, rotation_entry) : v;
}

std::vector<double> TestTransform::input_tolerances(const std::vector<double>& u,
                                                    const std::vector<double>& tolerances) const {
  std::vector<double> slack(static_cast<size_t>(round_up(cols, kActivationAlignment)), 0.0);
  for (size_t k = 0; k < u.size(); ++k) {
    const double factor = smoothing.empty() ? 1.0 : double{smoothing[k]};
    // One rounding by the smoothing, six by the butterflies, each of at most half an ulp of the block's sum.
    slack[k] = factor * (tolerances[k] + (rotated ? 4 : 1) * kFloatEpsilon * std::fabs(u[k]));
  }
  for (const int32_t channel : outliers)
    slack[static_cast<size_t>(channel)] = 0;
  return rotated ? by_blocks(slack, [](int32_t, int32_t) { return 0.125; }) : slack;
}

std::vector<double> TestTransform::weights(const float* row) const {
  std::vector<double> v(row, row + cols);
  v.resize(static_cast<size_t>(round_up(cols, kActivationAlignment)), 0.0);
  for (const int32_t channel : outliers)
    v[static_cast<size_t>(channel)] = 0;
  for (size_t k = 0; k < smoothing.size(); ++k)
    v[k] /= double{smoothing[k]};
  return rotated ? by_blocks(v, rotation_entry) : v;
}

TestTransform make_transform(Random& random, int32_t cols, const TransformKind& kind) {
  TestTransform transform;
  transform.cols = cols;
  transform.rotated = kind.rotated;
  if (kind.outliers) {
    std::set<int32_t> channels;
    for (const int32_t channel : {0, 63, 64, 127, 128, 4095, 4096, cols - 65, cols - 1})
      if (channel >= 0 && channel < cols) channels.insert(channel);
    transform.outliers.assign(channels.begin(), channels.end());
  }
  if (kind.smoothed) {
    transform.smoothing = random.floats(static_cast<size_t>(cols), 0.25f, 4.0f);
    std::vector<float> padded = transform.smoothing;
    padded.resize(static_cast<size_t>(round_up(cols, kActivationAlignment)), 0.0f);
    transform.smoothing_store = Unaligned(padded);
  }
  return transform;
}

}  // namespace lowrank::test
