// The whole int8 product, as a model runs it: weights are packed, the input is quantised with the matrix's transform, and
// the two are multiplied. Held against W x in double precision, within the error bound of quant/int8.h on what was
// quantised: the transformed input and the transformed weights.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "ops/matmul_expand.h"
#include "ops/quantize_shrink.h"
#include "ops/transform_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

size_t size(int32_t value) { return static_cast<size_t>(value); }

// The transform that a matrix was packed with, in the host's memory.
struct PackedTransform {
  PackedTransform(const Backend& backend, const Matrix& matrix)
      : outliers(size(matrix.input.outlier_count)),
        smoothing(matrix.input.smoothing == nullptr ? 0 : size(round_up(matrix.cols, kActivationAlignment))) {
    if (!outliers.empty()) backend.read(outliers.data(), matrix.input.outliers, outliers.size() * sizeof(int32_t));
    if (!smoothing.empty()) backend.read(smoothing.data(), matrix.input.smoothing, smoothing.size() * sizeof(float));
    view = {smoothing.empty() ? nullptr : smoothing.data(), matrix.input.rotated, matrix.input.outlier_count,
            outliers.empty() ? nullptr : outliers.data()};
  }
  std::vector<int32_t> outliers;
  std::vector<float> smoothing;
  InputTransform view;
};

// One matrix [n, k] and one input [m, k].
struct Product {
  int32_t m, n, k;
  std::vector<float> weights, x;
  TestTransform transform;

  // y [m, n]
  std::vector<float> run(const Backend& backend, int parts) const {
    const TestMatrix matrix = make_matrix(backend, transform.spec(n), weights);
    ActivationStore store(ActivationFormat::kInt8, m, k, transform.group);
    const PackedTransform packed(backend, *matrix.packed);
    run_parts(backend.ops().quantize_shrink, QuantizeShrinkArgs{x.data(), k, m, packed.view, store.view, {}}, parts);
    std::vector<float> y(size(m) * size(n), 77.0f);
    run_parts(backend.ops().matmul_expand,
              MatmulExpandArgs{store.view, matrix.packed.get(), 0, m, nullptr, nullptr, y.data(), n, {}}, parts);
    return y;
  }

  double exact(int32_t row, int32_t column) const {
    double sum = 0;
    for (size_t i = 0; i < size(k); ++i)
      sum += double{x[size(row) * size(k) + i]} * weights[size(column) * size(k) + i];
    return sum;
  }

  // Root mean square of y - W x.
  double rms_error(const Backend& backend) const {
    const std::vector<float> y = run(backend, 1);
    double squares = 0;
    for (int32_t row = 0; row < m; ++row)
      for (int32_t column = 0; column < n; ++column)
        squares += std::pow(y[size(row) * size(n) + size(column)] - exact(row, column), 2);
    return std::sqrt(squares / static_cast<double>(y.size()));
  }
};

std::vector<double> group_of(const std::vector<double>& v, size_t begin, int32_t group) {
  const auto end = std::min(begin + size(group), v.size());
  return std::vector<double>(v.begin() + static_cast<std::ptrdiff_t>(begin), v.begin() + static_cast<std::ptrdiff_t>(end));
}
double absolute_sum(const std::vector<double>& v) {
  double sum = 0;
  for (const double value : v)
    sum += std::fabs(value);
  return sum;
}
double largest(const std::vector<double>& v) {
  double value = 0;
  for (const double one : v)
    value = std::max(value, std::fabs(one));
  return value;
}

Product make_product(int32_t m, int32_t n, int32_t k, const TransformKind& kind, int32_t group = kDefaultScaleGroup) {
  Random random(static_cast<uint64_t>(m + 100 * n + 10000 * k));
  Product product = {m, n, k, random.floats(size(n) * size(k), -0.5f, 0.5f), random.floats(size(m) * size(k), -3.0f, 3.0f),
                     {}};
  product.transform = make_transform(random, k, kind);
  product.transform.group = group;
  return product;
}

}  // namespace

TEST("ops: a transformed product is W x within the bound of its quantisation") {
  const int32_t sizes[][3] = {{1, 16, 64}, {2, 17, 65}, {17, 33, 130}, {3, 5, 3}, {5, 48, 577}, {2, 20, 4161}};
  const auto check = [&](const Backend* backend, const int32_t (&s)[3], int32_t group) {
    for (const TransformKind& kind : transform_kinds()) {
      const Product product = make_product(s[0], s[1], s[2], kind, group);
      const std::vector<float> y = product.run(*backend, 1);
      const std::string what = label(*backend, "M " + std::to_string(s[0]) + ", N " + std::to_string(s[1]) + ", K " +
                                                   std::to_string(s[2]) + ", groups of " + std::to_string(group) + kind.text());
      for (int parts = 2; parts <= 3; ++parts)
        expect_same_bits(what, product.run(*backend, parts), y);
      for (int32_t row = 0; row < product.m; ++row) {
        const float* x = product.x.data() + size(row) * size(product.k);
        const std::vector<double> v = product.transform.input(std::vector<double>(x, x + product.k));
        for (int32_t column = 0; column < product.n; ++column) {
          const float* weights = product.weights.data() + size(column) * size(product.k);
          const std::vector<double> w = product.transform.weights(weights);
          double bound = 0;
          for (size_t k = 0; k < v.size(); k += size(group)) {
            const std::vector<double> vg = group_of(v, k, group), wg = group_of(w, k, group);
            // bfloat16 rounds the weights' scale up.
            const double sx = largest(vg) / 127, sw = largest(wg) / 127 * (1 + 1.0 / 128);
            bound += sw / 2 * absolute_sum(vg) + sx / 2 * absolute_sum(wg) + static_cast<double>(vg.size()) * sx * sw / 4;
          }
          bound *= 1 + 1e-3;  // the roundings of scales and of the transform itself
          for (const int32_t channel : product.transform.outliers)  // bfloat16 columns
            bound += std::fabs(double{x[channel]} * weights[channel]) / 256;
          const size_t at = size(row) * size(product.n) + size(column);
          expect_near(what, at, y[at], product.exact(row, column), bound + 1e-6);
        }
      }
    }  };
  for (const Backend* backend : available_backends())
    for (const int32_t group : group_sizes(*backend))
      for (const auto& s : sizes) check(backend, s, group);
}

TEST("ops: each step of the transform is far more accurate than none where a channel is huge") {
  for (const Backend* backend : available_backends()) {
    const auto rms_error = [&](const TransformKind& kind) {
      Product product = make_product(4, 32, 576, kind);
      Random random(9);
      product.weights = random.bfloat16_floats(product.weights.size(), -0.5f, 0.5f);
      for (int32_t row = 0; row < 4; ++row)
        product.x[size(row) * 576 + 64] *= 1000.0f;  // channel 64 is one of make_transform's outliers
      if (kind.smoothed) {                           // what a calibration would find
        product.transform.smoothing[64] = 0.03f;
        product.transform.smoothing_store.data()[64] = 0.03f;
      }
      return product.rms_error(*backend);
    };
    const double plain = rms_error({});
    CHECK(rms_error({false, false, true}) < plain / 1.5);
    CHECK(rms_error({true, false, false}) < plain / 50);
    CHECK(rms_error({true, true, true}) < plain / 20);
    CHECK(rms_error({false, true, false}) < plain);
  }
}

TEST("ops: NaN or infinity in any channel of a transformed input shows in every output of its row") {
  for (const Backend* backend : available_backends())
    for (const TransformKind& kind : transform_kinds())
      for (const float fault : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
        for (const int32_t at : {0, 1, 64, 70, 129}) {
          Product product = make_product(3, 33, 130, kind);
          const std::vector<float> sound = product.run(*backend, 1);
          product.x[130 + size(at)] = fault;
          const std::vector<float> faulty = product.run(*backend, 1);
          for (size_t i = 0; i < sound.size(); ++i)
            if (i / 33 == 1)
              CHECK(!std::isfinite(faulty[i]));
            else
              CHECK_EQ(faulty[i], sound[i]);
        }
}
