#include "ops/matmul_expand.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"
#include "ops/transform_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kGap = 5;  // columns of y beyond N, which belong to somebody else
constexpr float kUntouched = 77.0f;

struct Shape {
  int32_t m, n, k;
  WeightFormat weights = WeightFormat::kInt8;
  ActivationFormat activation = ActivationFormat::kInt8;
  int32_t outliers = 0;  // outlier columns; int8 activations only
  bool rotated = false;
  int32_t group = kDefaultScaleGroup;
  std::string text() const {
    return "M " + std::to_string(m) + ", N " + std::to_string(n) + ", K " + std::to_string(k) + ", weights " +
           std::to_string(static_cast<int>(weights)) + ", activations " +
           std::to_string(static_cast<int>(activation)) + ", outliers " + std::to_string(outliers) +
           (rotated ? ", rotated" : "") + (group == kDefaultScaleGroup ? "" : ", groups of " + std::to_string(group));
  }
};

// What one adapter brings to the place under test.
struct Adapter {
  std::vector<std::unique_ptr<TestFactors>> factors;
  std::vector<ExpandTerm> terms;
  std::vector<float> gain, bias;  // [N] or empty
  Unaligned gain_store, bias_store;

  void add(const Backend& backend, Random& random, int32_t rank, int32_t h_offset, int32_t n_begin,
           int32_t n_count, LoraDType dtype) {
    factors.push_back(std::make_unique<TestFactors>(backend, random, rank, 1, n_count, dtype));
    terms.push_back({factors.back()->b_packed.get(), h_offset, n_begin});
  }
};

// One product with everything that its epilogue can hold. The numbers follow from the seed alone, not from
// the backend.
class Product {
 public:
  Product(const Backend& backend, const Shape& shape, bool with_adapters, bool with_bias, bool with_residual)
      : backend_(backend),
        shape_(shape),
        random_(static_cast<uint64_t>(shape.m * 1000003 + shape.n * 1009 + shape.k)),
        x_(shape.activation, shape.m, shape.k, shape.group) {
    make_weights();
    make_input();
    if (with_bias) bias_ = random_.floats(size(shape.n), -1.0f, 1.0f);
    bias_store_ = Unaligned(bias_);
    if (with_residual) residual_ = random_.floats(size(shape.m) * size(y_stride()), -1.0f, 1.0f);
    if (with_adapters) make_adapters();
  }

  int32_t y_stride() const { return shape_.n + kGap; }
  void set_soft_cap(float soft_cap) { soft_cap_ = soft_cap; }

  // y [M, y_stride] after computing rows [row_begin, row_end); what the op must not touch holds kUntouched.
  // The residual is y itself where `in_place`.
  std::vector<float> run(int32_t row_begin, int32_t row_end, int parts, bool in_place = false) const {
    const size_t count = size(shape_.m) * size(y_stride());
    Unaligned y(std::vector<float>(count, kUntouched));
    const Unaligned residual(residual_);
    MatmulExpandArgs args = {};
    args.x = x_.view;
    args.w = matrix_.packed.get();
    args.row_begin = row_begin;
    args.row_end = row_end;
    args.bias = bias_.empty() ? nullptr : bias_store_.data();
    args.residual = residual_.empty() ? nullptr : residual.data();
    if (in_place) {
      std::copy(residual_.begin(), residual_.end(), y.data());
      args.residual = y.data();
    }
    args.y = y.data();
    args.y_stride = y_stride();
    args.soft_cap = soft_cap_;
    args.adapters = {segments_.data(), static_cast<int32_t>(segments_.size()), h_store_.data(), h_stride_};
    run_parts(backend_.ops().matmul_expand, args, parts);
    return std::vector<float>(y.data(), y.data() + count);
  }

  // The contract's equation in double precision, and how far y may be from it.
  struct Expected {
    double y;
    double tolerance;
  };
  Expected expected(int32_t m, int32_t n) const {
    const bool int8 = shape_.activation == ActivationFormat::kInt8;
    double product = 0, magnitude = 0, group = 0;
    for (int32_t k = 0; k < x_.view.stride; ++k) {
      const double term = input_[size(m) * size(x_.view.stride) + size(k)] * weight(n, k);
      product += term;
      group = k % shape_.group == 0 ? term : group + term;
      const bool ends_group = (k + 1) % shape_.group == 0 || k + 1 == x_.view.stride;
      if (!int8 || ends_group) magnitude += std::fabs(int8 ? group : term);
    }
    double tolerance =
        magnitude * kFloatEpsilon / 2 * (int8 ? scale_groups(shape_.k, shape_.group) : 70 + shape_.k / 64);
    double outlier_part = 0, outlier_magnitude = 0;
    for (size_t j = 0; j < outliers_.size(); ++j) {
      const double term = double{x_.view.outliers[size(m) * kMaxOutliers + j]} *
                          matrix_.weights[size(n) * size(shape_.k) + size(outliers_[j])];
      outlier_part += term;
      outlier_magnitude += std::fabs(term);
    }
    double low_rank = 0, low_rank_magnitude = 0, gain = 1;
    const std::vector<float>* bias = &bias_;
    if (const Adapter* adapter = adapter_of_row(m)) {
      for (size_t t = 0; t < adapter->terms.size(); ++t) {
        const TestFactors& factors = *adapter->factors[t];
        const int32_t row = n - adapter->terms[t].n_begin;
        if (row < 0 || row >= factors.b_packed->dimension) continue;
        for (int32_t r = 0; r < factors.rank; ++r) {
          const float h = h_[size(m) * size(h_stride_) + size(adapter->terms[t].h_offset + r)];
          const double term = low_rank_input(backend_, factors.dtype, h) *
                              factors.b[size(row) * size(factors.rank) + size(r)];
          low_rank += term;
          low_rank_magnitude += std::fabs(term);
        }
      }
      if (!adapter->gain.empty()) gain = adapter->gain[size(n)];
      if (!adapter->bias.empty()) bias = &adapter->bias;
    }
    const double added_bias = bias->empty() ? 0 : (*bias)[size(n)];
    const double residual = residual_.empty() ? 0 : residual_[size(m) * size(y_stride()) + size(n)];
    const double largest = std::max({std::fabs(gain) * (int8 ? magnitude : std::fabs(product)), std::fabs(gain) * outlier_magnitude,
                                     std::fabs(gain) * low_rank_magnitude, std::fabs(added_bias), std::fabs(residual)});
    tolerance = tolerance * std::fabs(gain) + 4 * kFloatEpsilon * largest;
    const double y = gain * (product + outlier_part + low_rank) + added_bias + residual, cap = double{soft_cap_};
    if (cap == 0) return {y, tolerance};
    return {cap * std::tanh(y / cap), tolerance + 1e-6 * cap};
  }

  void check(const std::vector<float>& y, int32_t row_begin, int32_t row_end, const std::string& what) const {
    for (int32_t m = 0; m < shape_.m; ++m)
      for (int32_t n = 0; n < y_stride(); ++n) {
        const size_t index = size(m) * size(y_stride()) + size(n);
        if (m < row_begin || m >= row_end || n >= shape_.n) {
          expect_near(what + " untouched", index, y[index], kUntouched, 0);
        } else {
          const Expected one = expected(m, n);
          expect_near(what, index, y[index], one.y, one.tolerance);
        }
      }
  }

  ActivationStore& x() { return x_; }

 private:
  static size_t size(int32_t value) { return static_cast<size_t>(value); }

  // The weight that input k is multiplied with: what the matrix must hold where it is rotated, else the logical weight, but for
  // outlier channels.
  double weight(int32_t n, int32_t k) const {
    if (shape_.rotated) return held_[size(n) * size(x_.view.stride) + size(k)];
    if (k >= shape_.k || std::binary_search(outliers_.begin(), outliers_.end(), k)) return 0;
    return matrix_.weights[size(n) * size(shape_.k) + size(k)];
  }

  void make_weights() {
    const size_t count = size(shape_.n) * size(shape_.k);
    std::vector<float> weights;
    if (shape_.weights == WeightFormat::kInt8)
      weights = random_int8_weights(random_, shape_.n, shape_.k, shape_.group).weights;
    if (shape_.weights == WeightFormat::kBFloat16) weights = random_.bfloat16_floats(count, -0.3f, 0.3f);
    if (shape_.weights == WeightFormat::kFloat32) weights = random_.floats(count, -0.3f, 0.3f);
    if (shape_.outliers > 0) take_outliers(weights);
    if (shape_.rotated)
      for (int32_t n = 0; n < shape_.n; ++n) {
        float* row = weights.data() + size(n) * size(shape_.k);
        while (!hold(row))
          for (int32_t k = 0; k < shape_.k; ++k)
            if (!std::binary_search(outliers_.begin(), outliers_.end(), k)) row[k] *= 1.001f;
      }
    MatrixSpec spec = {shape_.n, shape_.k, {shape_.weights, shape_.activation, shape_.group}};
    spec.set_transform(shape_.rotated, outliers_, {});
    matrix_ = make_matrix(backend_, spec, std::move(weights));
  }

  // Adds to held_ what a matrix must hold of a row: its rotation by the dense matrix in double precision, in steps of absmax / 127 of
  // a group, rounded up to bfloat16. False, and adds nothing, where float32 may round to another step.
  bool hold(const float* row) {
    TestTransform transform;
    transform.cols = shape_.k;
    transform.outliers = outliers_;
    transform.rotated = true;
    std::vector<double> held = transform.weights(row);
    for (size_t begin = 0; begin < held.size(); begin += size(shape_.group)) {
      const size_t end = std::min(begin + size(shape_.group), held.size());
      double absmax = 0;
      for (size_t k = begin; k < end; ++k) absmax = std::max(absmax, std::fabs(held[k]));
      const auto next_up = [](double step) {
        return static_cast<double>(std::bit_cast<float>((std::bit_cast<uint32_t>(static_cast<float>(step)) + 0xffffu) & 0xffff0000u));
      };
      const double scale = next_up(absmax / 127);
      if (next_up(absmax / 127 * (1 - 1e-5)) != scale || next_up(absmax / 127 * (1 + 1e-5)) != scale) return false;
      for (size_t k = begin; k < end; ++k) {
        const double steps = scale == 0 ? 0 : held[k] / scale;
        if (std::fabs(std::fabs(steps - std::floor(steps)) - 0.5) < 1e-4) return false;
        held[k] = scale * std::nearbyint(steps);
      }
    }
    held_.insert(held_.end(), held.begin(), held.end());
    return true;
  }

  // Chooses the outlier channels, the last one among them, and makes bfloat16 numbers of their columns. The largest of
  // the other weights of a group stays at 127 steps.
  void take_outliers(std::vector<float>& weights) {
    std::set<int32_t> channels = {shape_.k - 1};
    while (channels.size() < size(std::min(shape_.outliers, shape_.k)))
      channels.insert(random_.integer(0, shape_.k - 1));
    outliers_.assign(channels.begin(), channels.end());
    for (size_t n = 0; n < size(shape_.n); ++n) {
      float* row = weights.data() + n * size(shape_.k);
      const float absmax = std::fabs(*std::max_element(
          row, row + shape_.k, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
      for (int32_t begin = 0; begin < shape_.k; begin += shape_.group) {
        int32_t other = begin;
        while (channels.contains(other))
          ++other;
        if (other < std::min(begin + shape_.group, shape_.k)) row[other] = -absmax;
      }
      for (const int32_t channel : outliers_)
        row[channel] = random_.bfloat16_floats(1, -0.3f, 0.3f)[0];
    }
  }

  // input_ holds q times its scale, or the values. Row 1 is zero; row 2 is all +-127, or has an outlier.
  void make_input() {
    const Activations& view = x_.view;
    const int32_t cols = shape_.rotated ? view.stride : shape_.k;  // rotated inputs fill K's padding
    for (int32_t m = 0; m < shape_.m; ++m) {
      const bool zero = m == 1;
      const bool extreme = m == 2;
      float scale = 0.0f;
      for (int32_t k = 0; k < view.stride; ++k) {
        const size_t group = size(m) * size(view.groups()) + size(k / shape_.group);
        const size_t at = size(m) * size(view.stride) + size(k);
        if (view.format == ActivationFormat::kInt8) {
          int32_t q = extreme ? (random_.integer(0, 1) == 0 ? 127 : -127) : random_.integer(-127, 127);
          if (zero || k >= cols) q = 0;
          if (k % shape_.group == 0) {
            scale = zero ? 0.0f : random_.uniform(0.001f, 0.1f);
            view.scale[group] = scale;
            view.compensation[group] = 0;
          }
          view.q[at] = static_cast<int8_t>(q);
          view.compensation[group] -= 128 * q;
          input_.push_back(double{scale} * q);
        } else {
          float value = random_.uniform(-2.0f, 2.0f);
          if (extreme && k == 0) value = 1e4f;
          if (zero || k >= cols) value = 0.0f;
          view.values[at] = value;
          input_.push_back(value);
        }
      }
      if (view.format == ActivationFormat::kInt8) {
        for (size_t j = 0; j < size(kMaxOutliers); ++j)  // what is not an outlier's must not be read
          view.outliers[size(m) * kMaxOutliers + j] = j < outliers_.size() ? random_.uniform(-100.0f, 100.0f) : kNaN;
      }
    }
  }

  // Four adapters; rows take them in turn, with rows without an adapter between.
  void make_adapters() {
    const int32_t third = shape_.n / 3;
    const auto new_adapter = [&]() -> Adapter& {
      adapters_.push_back(std::make_unique<Adapter>());
      return *adapters_.back();
    };
    new_adapter().add(backend_, random_, 4, 0, 0, shape_.n, LoraDType::kBFloat16);
    Adapter& two_terms = new_adapter();
    two_terms.add(backend_, random_, 3, 1, 0, shape_.n, LoraDType::kFloat32);
    two_terms.add(backend_, random_, 16, 4, third, shape_.n - third, LoraDType::kInt8);
    two_terms.gain = random_.floats(size(shape_.n), 0.5f, 1.5f);
    new_adapter().bias = random_.floats(size(shape_.n), -1.0f, 1.0f);
    Adapter& partial = new_adapter();
    partial.add(backend_, random_, 17, 3, third, 1, LoraDType::kBFloat16);
    partial.add(backend_, random_, 1, 0, 0, std::max(1, third), LoraDType::kInt8);
    partial.bias = random_.floats(size(shape_.n), -1.0f, 1.0f);
    partial.gain = random_.floats(size(shape_.n), -1.5f, 1.5f);
    for (auto& adapter : adapters_) {
      adapter->gain_store = Unaligned(adapter->gain);
      adapter->bias_store = Unaligned(adapter->bias);
    }
    const int kPattern[] = {1, 1, -1, 3, 0, 0, 0, -1, -1, 2, 1};  // index of the adapter, or -1 for none
    for (int32_t m = 0; m < shape_.m; ++m) {
      const int adapter = kPattern[m % 11];
      row_adapter_.push_back(adapter);
      if (adapter < 0) continue;
      if (!segments_.empty() && segments_.back().row_end == m && row_adapter_[size(m) - 1] == adapter) {
        segments_.back().row_end = m + 1;
        continue;
      }
      const Adapter& one = *adapters_[static_cast<size_t>(adapter)];
      AdapterRows segment = {};
      segment.row_begin = m;
      segment.row_end = m + 1;
      segment.expand = one.terms.data();
      segment.expand_count = static_cast<int32_t>(one.terms.size());
      segment.output_gain = one.gain.empty() ? nullptr : one.gain_store.data();
      segment.bias = one.bias.empty() ? nullptr : one.bias_store.data();
      segments_.push_back(segment);
    }
    h_ = random_.floats(size(shape_.m) * size(h_stride_), -1.0f, 1.0f);
    for (int32_t m = 0; m < shape_.m; ++m)  // rows without an adapter must not read h
      if (adapter_of_row(m) == nullptr) std::fill_n(h_.begin() + m * h_stride_, h_stride_, kNaN);
    h_store_ = Unaligned(h_);
  }

  const Adapter* adapter_of_row(int32_t m) const {
    if (row_adapter_.empty() || row_adapter_[size(m)] < 0) return nullptr;
    return adapters_[static_cast<size_t>(row_adapter_[size(m)])].get();
  }

  const Backend& backend_;
  Shape shape_;
  Random random_;
  ActivationStore x_;
  std::vector<double> input_;      // [M, stride]
  std::vector<int32_t> outliers_;  // channels
  float soft_cap_ = 0;
  TestMatrix matrix_;
  std::vector<double> held_;  // [N, stride] of a rotated matrix: what it holds
  std::vector<float> bias_, residual_, h_;
  Unaligned bias_store_, h_store_;
  int32_t h_stride_ = 21;
  std::vector<std::unique_ptr<Adapter>> adapters_;
  std::vector<int> row_adapter_;
  std::vector<AdapterRows> segments_;
};

// For each size of groups that the backend has: whole groups, a part of one, and less than one; with and without a stream of rows.
std::vector<Shape> shapes(const Backend& backend) {
  std::vector<Shape> all;
  const int32_t sizes[][3] = {{1, 1, 1},   {1, 16, 64},  {2, 17, 3},   {7, 33, 65},   {17, 48, 130},
                              {17, 5, 67}, {5, 100, 63}, {3, 64, 576}, {16, 96, 192}, {33, 31, 257}};
  for (const auto& s : sizes) {
    all.push_back({s[0], s[1], s[2]});
    for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32})
      all.push_back({s[0], s[1], s[2], format, ActivationFormat::kFloat32});
    all.push_back({s[0], s[1], s[2], WeightFormat::kInt8, ActivationFormat::kInt8, 0, true});
  }
  for (const int32_t outliers : {1, 8, 17, 64})
    for (const int32_t m : {1, 2, 17})
      for (const bool rotated : {false, true})
        all.push_back({m, 49, 193, WeightFormat::kInt8, ActivationFormat::kInt8, outliers, rotated});
  all.push_back({2, 1, 1, WeightFormat::kInt8, ActivationFormat::kInt8, 1, true});    // nothing but outliers
  for (const auto& s : {std::array{6, 9, 4300}, std::array{20, 9, 2100}, std::array{40, 20, 700}})  // many groups
    all.push_back({s[0], s[1], s[2]});
  all.push_back({9, 20, 64, WeightFormat::kInt8, ActivationFormat::kInt8, 64, false});
  all.push_back({70, 130, 65, WeightFormat::kInt8, ActivationFormat::kInt8, 8, true});
  for (const int32_t group : group_sizes(backend)) {
    if (group == kDefaultScaleGroup) continue;
    for (const auto& s : {std::array{1, 33, 576}, std::array{7, 33, 65}})
      all.push_back({s[0], s[1], s[2], WeightFormat::kInt8, ActivationFormat::kInt8, 8, true, group});
    for (const auto& s : {std::array{5, 20, 256}, std::array{17, 20, 513}, std::array{3, 3, 8500}})
      all.push_back({s[0], s[1], s[2], WeightFormat::kInt8, ActivationFormat::kInt8, 0, false, group});
  }
  return all;
}

}  // namespace

TEST("ops/matmul_expand: the equation, with and without each part of the epilogue") {
  for (const Backend* backend : product_backends())
    for (const Shape& shape : shapes(*backend))
      for (int mask = 0; mask < 8; mask += is_shortened(*backend) ? 7 : 1) {
        const Product product(*backend, shape, (mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0);
        product.check(product.run(0, shape.m, 1), 0, shape.m, label(*backend, shape.text()));
      }
}

TEST("ops/matmul_expand: the residual may be y itself") {
  for (const Backend* backend : product_backends())
    for (const Shape& shape : shapes(*backend)) {
      const Product product(*backend, shape, true, true, true);
      const std::vector<float> apart = product.run(0, shape.m, 2);
      const std::vector<float> in_place = product.run(0, shape.m, 2, true);
      for (size_t i = 0; i < apart.size(); ++i)
        if (i % static_cast<size_t>(product.y_stride()) < static_cast<size_t>(shape.n))
          expect_near(label(*backend, shape.text()), i, in_place[i], apart[i], 0);
    }
}

TEST("ops/matmul_expand: bit-identical for any number of parts") {
  for (const Backend* backend : product_backends())
    for (const Shape& shape : shapes(*backend)) {
      const Product product(*backend, shape, true, true, true);
      const std::vector<float> whole = product.run(0, shape.m, 1);
      for (int parts = is_shortened(*backend) ? max_parts(*backend) : 2; parts <= max_parts(*backend); ++parts)
        expect_same_bits(label(*backend, shape.text()), product.run(0, shape.m, parts), whole);
    }
}

TEST("ops/matmul_expand: a row alone equals the row in its batch, bit for bit") {
  for (const Backend* backend : product_backends())
    for (const Shape& shape : shapes(*backend)) {
      const Product product(*backend, shape, true, true, false);
      const std::vector<float> batch = product.run(0, shape.m, 1);
      for (int32_t rows = is_shortened(*backend) ? 5 : 1; rows <= std::min(shape.m, 9); rows += 4)
        for (int32_t begin = 0; begin < shape.m; begin += rows) {
          const int32_t end = std::min(begin + rows, shape.m);
          const std::vector<float> alone = product.run(begin, end, 1);
          const auto slice = [&](const std::vector<float>& y) {
            return std::vector<float>(y.begin() + begin * product.y_stride(),
                                      y.begin() + end * product.y_stride());
          };
          expect_same_bits(label(*backend, shape.text()), slice(alone), slice(batch));
          if (rows == 5) product.check(alone, begin, end, label(*backend, shape.text() + " some rows"));
        }
    }
}

TEST("ops/matmul_expand: a soft cap, for any number of parts and some of the rows") {
  for (const Backend* backend : product_backends())
    for (const Shape& shape : shapes(*backend)) {
      Product product(*backend, shape, true, true, false);
      for (const float soft_cap : {0.5f, 30.0f}) {
        product.set_soft_cap(soft_cap);
        const std::string what = label(*backend, shape.text() + ", soft cap");
        const std::vector<float> whole = product.run(0, shape.m, 1);
        product.check(whole, 0, shape.m, what);
        expect_same_bits(what, product.run(0, shape.m, 3), whole);
        product.check(product.run(shape.m / 2, shape.m, 2), shape.m / 2, shape.m, what + ", some rows");
      }
    }
}

TEST("ops/matmul_expand: sums are exact up to the largest K with all values at +-127") {
  constexpr int32_t kMaxCols = 1 << 17;
  for (const Backend* backend : product_backends())
    for (const int32_t group : group_sizes(*backend)) {
      const int32_t k_count = std::min(kMaxCols, 1024 * group);  // whose sums are float32 numbers
      const auto cols = static_cast<size_t>(k_count);
      std::vector<float> weights(3 * cols, 127.0f);  // rows: all 127, all -127, alternating
      for (size_t k = 0; k < cols; ++k) {
        weights[cols + k] = -127.0f;
        weights[2 * cols + k] = k % 2 == 0 ? 127.0f : -127.0f;
      }
      const TestMatrix matrix = make_matrix(
          *backend, {3, k_count, {WeightFormat::kInt8, ActivationFormat::kInt8, group}}, std::move(weights));
      ActivationStore x(ActivationFormat::kInt8, 2, k_count, group);
      std::memset(x.view.q, 127, cols);
      std::memset(x.view.q + cols, -127, cols);
      const int32_t groups = k_count / group;
      for (int i = 0; i < 2 * groups; ++i) {
        x.view.scale[i] = 1.0f;
        x.view.compensation[i] = -128 * (i < groups ? 127 : -127) * group;
      }
      float y[6];
      MatmulExpandArgs args = {x.view, matrix.packed.get(), 0, 2, nullptr, nullptr, y, 3, {}};
      run_parts(backend->ops().matmul_expand, args, 1);
      const float largest = 127.0f * 127.0f * static_cast<float>(k_count);  // a float32, exactly
      const float expected[] = {largest, -largest, 0.0f, -largest, largest, 0.0f};
      for (size_t i = 0; i < 6; ++i)
        expect_near(label(*backend, "all +-127"), i, y[i], expected[i], 0);
    }
}

TEST("ops/matmul_expand: NaN or infinity in an outlier channel shows in every column of its row, and nowhere else") {
  for (const Backend* backend : product_backends())
    for (const float fault : {kNaN, std::numeric_limits<float>::infinity()})
      for (const bool with_adapters : {false, true}) {
        const Shape shape = {7, 33, 65, WeightFormat::kInt8, ActivationFormat::kInt8, 8, true};
        Product product(*backend, shape, with_adapters, true, true);
        const std::vector<float> sound = product.run(0, shape.m, 1);
        product.x().view.outliers[3 * kMaxOutliers + 7] = fault;
        const std::vector<float> faulty = product.run(0, shape.m, 1);
        for (size_t i = 0; i < sound.size(); ++i) {
          const bool within = i % static_cast<size_t>(product.y_stride()) < 33;
          if (i / static_cast<size_t>(product.y_stride()) == 3 && within)
            CHECK(!std::isfinite(faulty[i]));
          else
            expect_near(label(*backend, "beside a faulty row"), i, faulty[i], sound[i], 0);
        }
      }
}

TEST("ops/matmul_expand: a faulty row gives NaN, the others are untouched by it") {
  for (const Backend* backend : product_backends())
    for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32}) {
      const Shape shape = {7, 33, 65, WeightFormat::kInt8, format};
      Product product(*backend, shape, true, true, true);
      const std::vector<float> sound = product.run(0, shape.m, 1);
      if (format == ActivationFormat::kInt8) {
        std::memset(product.x().view.q + 3 * product.x().view.stride, 0, 65);
        product.x().view.compensation[3] = 0;
        product.x().view.scale[3] = kNaN;
      } else {
        product.x().view.values[3 * product.x().view.stride + 64] = kNaN;
      }
      const std::vector<float> faulty = product.run(0, shape.m, 1);
      for (size_t i = 0; i < sound.size(); ++i) {
        const size_t row = i / static_cast<size_t>(product.y_stride());
        const bool within = i % static_cast<size_t>(product.y_stride()) < 33;
        if (row == 3 && within)
          CHECK(std::isnan(faulty[i]));
        else
          expect_near(label(*backend, "beside a faulty row"), i, faulty[i], sound[i], 0);
      }
    }
}
