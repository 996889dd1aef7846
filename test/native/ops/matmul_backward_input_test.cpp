// The gradient of a product's input, against W^T dy in double precision with W as Backend::unpack gives it.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "backend/training_op.h"
#include "check.h"
#include "ops/matmul_expand.h"
#include "ops/transform_case.h"
#include "quant/scheme_name.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

size_t size(int32_t value) { return static_cast<size_t>(value); }

constexpr float kUntouched = 77.0f;

// One matrix [n, k] and m rows of dy, packed by a backend.
class Gradient {
 public:
  Gradient(const Backend& backend, MatrixSpec spec, const TestTransform& transform, int32_t m, uint64_t seed)
      : backend_(backend), n_(spec.rows), k_(spec.cols), m_(m), dy_stride_(n_ + 3), transform_(transform) {
    Random random(seed);
    matrix_ = make_matrix(backend, spec, random.floats(size(n_) * size(k_), -0.5f, 0.5f));
    dy_ = random.floats(size(m_) * size(dy_stride_), -2.0f, 2.0f);
    unpacked_.resize(size(n_) * size(k_));
    backend.unpack(*matrix_.packed, 0, n_, unpacked_.data());
  }

  void clear_row(int32_t m) { std::fill_n(dy_.begin() + std::ptrdiff_t{m} * dy_stride_, dy_stride_, 0.0f); }

  // dx [m, k + 2]; rows outside [row_begin, row_end) and what lies behind K stay as they were.
  std::vector<float> run(int parts, int32_t row_begin, int32_t row_end) const {
    const int32_t stride = k_ + 2;
    std::vector<float> dx(size(m_) * size(stride), kUntouched);
    const Unaligned dy(dy_);
    run_parts(training_op(backend_, &TrainingOps::matmul_backward_input),
              MatmulBackwardInputArgs{dy.data(), dy_stride_, matrix_.packed.get(), row_begin, row_end, dx.data(), stride}, parts);
    return dx;
  }
  std::vector<float> run(int parts) const { return run(parts, 0, m_); }

  void check(const std::string& what, const std::vector<float>& dx) const {
    const std::vector<double> held = held_magnitudes();
    const size_t padded = held.size() / size(n_);
    const double additions = kBackwardRows + std::ceil(n_ / double{kBackwardRows}) + 12;
    for (int32_t m = 0; m < m_; ++m) {
      std::vector<double> magnitude(padded, 0.0);  // of the sums over held weights
      std::vector<double> expected(size(k_), 0.0), direct(size(k_), 0.0);
      for (size_t n = 0; n < size(n_); ++n) {
        const double gradient = dy_[size(m) * size(dy_stride_) + n];
        for (size_t k = 0; k < padded; ++k) magnitude[k] += held[n * padded + k] * std::fabs(gradient);
        for (size_t k = 0; k < size(k_); ++k) {
          expected[k] += double{unpacked_[n * size(k_) + k]} * gradient;
          direct[k] += std::fabs(double{unpacked_[n * size(k_) + k]} * gradient);
        }
      }
      for (size_t k = 0; k < size(k_); ++k) {
        double terms = magnitude[k];
        if (transform_.rotated) {
          const size_t begin = k / kRotationBlock * kRotationBlock;
          terms = 0;
          for (size_t i = begin; i < begin + kRotationBlock; ++i) terms += magnitude[i] / 8;
        }
        if (!transform_.smoothing.empty()) terms *= transform_.smoothing[k];
        expect_near(label(backend_, what) + ", row " + std::to_string(m), k, dx[size(m) * size(k_ + 2) + k], expected[k],
                    kFloatEpsilon / 2 * additions * std::max(terms, direct[k]));
      }
      CHECK_EQ(dx[size(m) * size(k_ + 2) + size(k_)], kUntouched);
      CHECK_EQ(dx[size(m) * size(k_ + 2) + size(k_) + 1], kUntouched);
    }
  }

 private:
  // |w| of the held weights [n, padded], worked out from the logical ones.
  std::vector<double> held_magnitudes() const {
    std::vector<double> all;
    for (int32_t n = 0; n < n_; ++n)
      for (const double value : transform_.weights(unpacked_.data() + size(n) * size(k_))) all.push_back(std::fabs(value));
    return all;
  }

  const Backend& backend_;
  const int32_t n_, k_, m_, dy_stride_;
  const TestTransform& transform_;
  TestMatrix matrix_;
  std::vector<float> dy_, unpacked_;
};

struct Kind {
  WeightFormat weights;
  ActivationFormat activations;
  TransformKind transform;
  int32_t group = kDefaultScaleGroup;
};
std::vector<Kind> kinds(const Backend& backend) {
  std::vector<Kind> all = {{WeightFormat::kInt8, ActivationFormat::kFloat32, {}},
                           {WeightFormat::kBFloat16, ActivationFormat::kFloat32, {}},
                           {WeightFormat::kFloat32, ActivationFormat::kFloat32, {}}};
  for (const TransformKind& kind : transform_kinds())
    for (const int32_t group : group_sizes(backend))
      all.push_back({WeightFormat::kInt8, ActivationFormat::kInt8, kind, group});
  return all;
}

// On every backend that trains; false where there is none.
template <class Body>
bool for_each_case(const std::vector<std::array<int32_t, 3>>& shapes, Body body) {
  bool any = false;
  for (const Backend* backend : available_backends()) {
    if (backend->training_ops() == nullptr) continue;
    any = true;
    for (const auto& [m, n, k] : shapes)
      for (const Kind& kind : kinds(*backend)) {
        Random random(static_cast<uint64_t>(k));
        const TestTransform transform = make_transform(random, k, kind.transform);
        MatrixSpec spec = transform.spec(n);
        spec.scheme.weights = kind.weights;
        spec.scheme.activations = kind.activations;
        spec.scheme.group = kind.group;
        const std::string what = "M " + std::to_string(m) + ", N " + std::to_string(n) + ", K " + std::to_string(k) + ", weights " +
                                 scheme_name(spec.scheme);
        Gradient gradient(*backend, spec, transform, m, static_cast<uint64_t>(m + 7 * n + 31 * k));
        body(gradient, what, m);
      }
  }
  return any;
}

}  // namespace

TEST("ops: the gradient of a product's input is W^T dy of the logical weights") {
  const bool any = for_each_case({{1, 1, 1}, {1, 16, 64}, {3, 17, 65}, {7, 63, 127}, {65, 65, 193}, {130, 130, 200}, {2, 300, 320}},
                [](Gradient& gradient, const std::string& what, int32_t) { gradient.check(what, gradient.run(1)); });
  if (!any) SKIP("no backend here trains");
}

TEST("ops: the gradient of a product's input is the same bits in any number of parts") {
  const bool any = for_each_case({{5, 65, 321}, {67, 33, 130}}, [](Gradient& gradient, const std::string& what, int32_t) {
    const std::vector<float> whole = gradient.run(1);
    for (const int parts : {2, 3, 7, 64}) expect_same_bits(what + ", parts " + std::to_string(parts), gradient.run(parts), whole);
  });
  if (!any) SKIP("no backend here trains");
}

TEST("ops: a row's gradient is the same bits alone or in any batch, and other rows stay as they were") {
  const bool any = for_each_case({{70, 129, 193}}, [](Gradient& gradient, const std::string& what, int32_t m) {
    const std::vector<float> whole = gradient.run(1);
    const size_t stride = whole.size() / size(m);
    for (const auto& [begin, end] : std::vector<std::array<int32_t, 2>>{{0, 1}, {69, 70}, {3, 6}, {11, 68}, {5, 5}}) {
      std::vector<float> expected(whole.size(), kUntouched);
      std::copy(whole.begin() + static_cast<std::ptrdiff_t>(size(begin) * stride),
                whole.begin() + static_cast<std::ptrdiff_t>(size(end) * stride),
                expected.begin() + static_cast<std::ptrdiff_t>(size(begin) * stride));
      expect_same_bits(what + ", rows from " + std::to_string(begin), gradient.run(2, begin, end), expected);
    }
  });
  if (!any) SKIP("no backend here trains");
}

TEST("ops: the gradient of a product's input is zero where dy is") {
  const bool any = for_each_case({{3, 65, 130}}, [](Gradient& gradient, const std::string& what, int32_t m) {
    for (int32_t row = 0; row < m; ++row) gradient.clear_row(row);
    const std::vector<float> dx = gradient.run(1);
    for (size_t i = 0; i < dx.size(); ++i) expect_near(what, i, dx[i], i % (dx.size() / size(m)) < 130 ? 0.0 : double{kUntouched}, 0);
  });
  if (!any) SKIP("no backend here trains");
}
