#include "ops/quantize_case.h"

#include <algorithm>
#include <cmath>

#include "check.h"

namespace lowrank::test {
namespace {

constexpr float kUntouched = 77.0f;
constexpr float kEpsilon = 1e-5f;

size_t size(int32_t value) { return static_cast<size_t>(value); }

}  // namespace

const char* name_of(QuantizeKind kind) {
  switch (kind) {
    case QuantizeKind::kRmsNorm: return "rmsnorm";
    case QuantizeKind::kPlain: return "plain";
    case QuantizeKind::kSilu: return "silu";
    case QuantizeKind::kGeluTanh: return "gelu_tanh";
  }
  return "";
}

std::string QuantizeShape::text() const {
  return std::string(name_of(kind)) + " M " + std::to_string(m) + ", K " + std::to_string(k) + ", format " +
         std::to_string(static_cast<int>(format)) + (adapters ? ", adapters" : "") + (indexed ? ", indexed" : "") +
         transform.text() + (group == kDefaultScaleGroup ? "" : ", groups of " + std::to_string(group));
}

QuantizeOutput QuantizeOutput::row(int32_t m, int32_t rows) const {
  const auto slice = [&](const auto& all) {
    const auto each = static_cast<std::ptrdiff_t>(all.size() / size(rows));
    return std::decay_t<decltype(all)>(all.begin() + m * each, all.begin() + (m + 1) * each);
  };
  return {slice(values), slice(scale), slice(compensation), slice(outliers), slice(h)};
}

void expect_same(const std::string& what, const QuantizeOutput& actual, const QuantizeOutput& expected) {
  expect_same_bits(what + " values", actual.values, expected.values);
  expect_same_bits(what + " scale", actual.scale, expected.scale);
  expect_same_bits(what + " outliers", actual.outliers, expected.outliers);
  expect_same_bits(what + " h", actual.h, expected.h);
  CHECK(actual.compensation == expected.compensation);
}

QuantizeCase::QuantizeCase(const Backend& backend, const QuantizeShape& shape)
    : backend_(backend), shape_(shape), random_(static_cast<uint64_t>(shape.m * 7919 + shape.k)) {
  x_rows_ = shape.indexed ? shape.m + 3 : shape.m;
  x_stride_ = (glu() ? 2 * shape.k : shape.k) + 3;
  x_ = random_.floats(size(x_rows_) * size(x_stride_), -3.0f, 3.0f);
  gain_ = random_.floats(size(shape.k), 0.2f, 2.0f);
  transform_ = make_transform(random_, shape.k, shape.transform);
  if (shape.indexed)
    for (int32_t m = 0; m < shape.m; ++m)
      row_index_.push_back(x_rows_ - 1 - m);
  if (shape.adapters) make_adapters();
}

float& QuantizeCase::x(int32_t m, int32_t k) {
  const int32_t row = row_index_.empty() ? m : row_index_[size(m)];
  return x_[size(row) * size(x_stride_) + size(k)];
}

QuantizeOutput QuantizeCase::run_rows(int32_t begin, int32_t end, int parts) const {
  const int32_t rows = end - begin;
  const Unaligned x(x_), gain(gain_), own_gain(own_gain_);
  ActivationStore out(shape_.format, rows, shape_.k, shape_.group);
  Unaligned h(std::vector<float>(size(rows) * size(kHStride), kUntouched));
  std::vector<AdapterRows> segments;
  for (AdapterRows segment : segments_) {
    segment.row_begin = std::max(segment.row_begin, begin) - begin;
    segment.row_end = std::min(segment.row_end, end) - begin;
    if (segment.norm_gain != nullptr) segment.norm_gain = own_gain.data();
    if (segment.row_begin < segment.row_end) segments.push_back(segment);
  }
  const AdapterSegments adapters = {segments.data(), static_cast<int32_t>(segments.size()), h.data(),
                                    kHStride};
  const InputTransform input = transform_.view();
  const float* first = x.data() + (row_index_.empty() ? size(begin) * size(x_stride_) : 0);
  const int32_t* index = row_index_.empty() ? nullptr : row_index_.data() + begin;
  const OpTable& ops = backend_.ops();
  switch (shape_.kind) {
    case QuantizeKind::kRmsNorm:
      run_parts(ops.rmsnorm_quantize_shrink,
                RmsNormQuantizeShrinkArgs{first, x_stride_, index, rows, gain.data(), kEpsilon, input,
                                          out.view, adapters},
                parts);
      break;
    case QuantizeKind::kPlain:
      run_parts(ops.quantize_shrink,
                QuantizeShrinkArgs{first, x_stride_, rows, input, out.view, adapters}, parts);
      break;
    case QuantizeKind::kSilu:
    case QuantizeKind::kGeluTanh:
      run_parts(
          ops.glu_quantize_shrink,
          GluQuantizeShrinkArgs{first, x_stride_, rows,
                                shape_.kind == QuantizeKind::kSilu ? Activation::kSilu : Activation::kGeluTanh,
                                input, out.view, adapters},
          parts);
      break;
  }
  QuantizeOutput copy;
  const size_t elements = size(rows) * size(out.view.stride);
  if (shape_.format == ActivationFormat::kInt8) {
    copy.values.assign(out.view.q, out.view.q + elements);
    const int32_t groups = rows * out.view.groups();
    copy.scale.assign(out.view.scale, out.view.scale + groups);
    if (std::string(backend_.name()) == "cpu") copy.compensation.assign(out.view.compensation, out.view.compensation + groups);
    for (int32_t m = 0; m < rows; ++m)
      copy.outliers.insert(copy.outliers.end(), out.view.outliers + m * kMaxOutliers,
                           out.view.outliers + m * kMaxOutliers + input.outlier_count);
  } else {
    copy.values.assign(out.view.values, out.view.values + elements);
  }
  copy.h.assign(h.data(), h.data() + size(rows) * size(kHStride));
  return copy;
}

QuantizeCase::Row QuantizeCase::expected_row(int32_t m) {
  Row row;
  double norm = 1;
  const AdapterRows* segment = segment_of(m);
  const std::vector<float>& gain = segment != nullptr && segment->norm_gain != nullptr ? own_gain_ : gain_;
  if (shape_.kind == QuantizeKind::kRmsNorm) {
    double squares = 0;
    for (int32_t k = 0; k < shape_.k; ++k)
      squares += double{x(m, k)} * x(m, k);
    norm = std::sqrt(squares / shape_.k + double{kEpsilon});
  }
  for (int32_t k = 0; k < shape_.k; ++k) {
    double value = x(m, k), tolerance = 0;
    if (shape_.kind == QuantizeKind::kRmsNorm) {
      value = value / norm * gain[size(k)];
      tolerance = 3e-6 * std::fabs(value);
    } else if (glu()) {
      const double gate = x(m, k);
      const double up = x(m, shape_.k + k);
      const double pi = std::acos(-1.0);
      const bool silu = shape_.kind == QuantizeKind::kSilu;
      const double activated =
          silu ? gate / (1 + std::exp(-gate))
               : 0.5 * gate * (1 + std::tanh(std::sqrt(2 / pi) * (gate + 0.044715 * gate * gate * gate)));
      value = activated * up;
      // 1 + tanh cancels for negative gates.
      tolerance = 1e-6 * std::fabs(up) * std::fabs(silu ? activated : gate) + 1e-30;
    }
    row.u.push_back(value);
    row.tolerances.push_back(tolerance);
  }
  return row;
}

void QuantizeCase::check(const QuantizeOutput& out) {
  const std::string what = label(backend_, shape_.text());
  const int32_t stride = round_up(shape_.k, kActivationAlignment);
  for (int32_t m = 0; m < shape_.m; ++m) {
    const Row row = expected_row(m);
    if (shape_.format == ActivationFormat::kInt8)
      check_int8(out, m, row, what);
    else  // as the rows are: no transform
      for (int32_t k = 0; k < stride; ++k) {
        const size_t index = size(m) * size(stride) + size(k);
        const double u = k < shape_.k ? row.u[size(k)] : 0;
        const double tolerance = k < shape_.k ? row.tolerances[size(k)] + kFloatEpsilon * std::fabs(u) : 0;
        expect_near(what + " values", index, out.values[index], u, tolerance);
      }
    check_h(out, m, row, what);
  }
}

void QuantizeCase::check_int8(const QuantizeOutput& out, int32_t m, const Row& row, const std::string& what) const {
  const std::vector<double> v = transform_.input(row.u);
  const std::vector<double> slack = transform_.input_tolerances(row.u, row.tolerances);
  const size_t group_size = size(shape_.group);
  for (size_t begin = 0; begin < v.size(); begin += group_size) {
    const size_t group = size(m) * size(scale_groups(shape_.k, shape_.group)) + begin / group_size;
    const double scale = out.scale[group];
    double absmax = 0, absmax_slack = 0;
    int32_t sum = 0;
    for (size_t k = begin; k < std::min(begin + group_size, v.size()); ++k) {
      const size_t index = size(m) * v.size() + k;
      const float q = out.values[index];
      if (k >= size(shape_.k) && !transform_.rotated)
        expect_near(what + " padding", index, q, 0, 0);
      else
        expect_near(what + " q", index, q * scale, v[k], scale * (0.5 + 3e-5) + slack[k]);
      CHECK(std::fabs(q) <= 127);
      sum += static_cast<int32_t>(q);
      absmax = std::max(absmax, std::fabs(v[k]));
      absmax_slack = std::max(absmax_slack, slack[k]);
    }
    expect_near(what + " scale", group, scale, absmax / 127, (absmax_slack + 2 * kFloatEpsilon * absmax) / 127);
    if (!out.compensation.empty()) CHECK_EQ(out.compensation[group], -128 * sum);
  }
  for (size_t j = 0; j < transform_.outliers.size(); ++j) {
    const size_t k = size(transform_.outliers[j]);
    const double tolerance = row.tolerances[k];
    expect_near(what + " outliers, row " + std::to_string(m), j, out.outliers[size(m) * transform_.outliers.size() + j],
                row.u[k], tolerance);
  }
}

// Every fourth row has no adapter; of the others, two kinds take turns: one term, or two and an own norm
// gain.
void QuantizeCase::make_adapters() {
  factors_.push_back(std::make_unique<TestFactors>(backend_, random_, 5, shape_.k, 1, LoraDType::kFloat32));
  factors_.push_back(
      std::make_unique<TestFactors>(backend_, random_, 3, shape_.k, 1, LoraDType::kInt8));
  factors_.push_back(
      std::make_unique<TestFactors>(backend_, random_, 33, shape_.k, 1, LoraDType::kBFloat16));
  own_gain_ = random_.floats(size(shape_.k), -2.0f, 2.0f);
  one_term_ = {{factors_[0]->a_packed.get(), 2, 1.75f}};
  two_terms_ = {{factors_[1]->a_packed.get(), 0, -0.5f, factors_[1]->rank_scale_or_null()},
                {factors_[2]->a_packed.get(), 3, 2.0f}};
  for (int32_t m = 0; m < shape_.m; ++m) {
    if (m % 4 == 3) continue;
    const bool two = m % 8 == 0 || m % 8 == 6;
    if (!segments_.empty() && segments_.back().row_end == m &&
        (segments_.back().shrink_count == 2) == two) {
      segments_.back().row_end = m + 1;
      continue;
    }
    AdapterRows segment = {};
    segment.row_begin = m;
    segment.row_end = m + 1;
    segment.shrink = two ? two_terms_.data() : one_term_.data();
    segment.shrink_count = two ? 2 : 1;
    segment.norm_gain = two && shape_.kind == QuantizeKind::kRmsNorm ? own_gain_.data() : nullptr;
    segments_.push_back(segment);
  }
}

const AdapterRows* QuantizeCase::segment_of(int32_t m) const {
  for (const AdapterRows& segment : segments_)
    if (m >= segment.row_begin && m < segment.row_end) return &segment;
  return nullptr;
}

void QuantizeCase::check_h(const QuantizeOutput& out, int32_t m, const Row& row, const std::string& what) const {
  std::vector<double> expected(size(kHStride), double{kUntouched}), allowed(size(kHStride), 0.0);
  const AdapterRows* segment = segment_of(m);
  for (int32_t t = 0; segment != nullptr && t < segment->shrink_count; ++t) {
    const ShrinkTerm& term = segment->shrink[t];
    const TestFactors& factors = *factors_[segment->shrink_count == 1 ? 0 : size(1 + t)];
    for (int32_t r = 0; r < factors.rank; ++r) {
      double sum = 0, magnitude = 0, error = 0;
      for (size_t k = 0; k < row.u.size(); ++k) {
        const double a = factors.a[size(r) * row.u.size() + k];
        sum += row.u[k] * a;
        magnitude += std::fabs(row.u[k] * a);
        // u is known only nearly, so which way it was rounded is not.
        const double rounding = low_rank_input(backend_, factors.dtype, row.u[k]) == row.u[k] ? 0 : std::fabs(row.u[k]) / 256;
        error += (row.tolerances[k] + rounding) * std::fabs(a);
      }
      const size_t at = size(term.h_offset + r);
      const double scale = term.scale * factors.scale_of(r);
      expected[at] = scale * sum;
      allowed[at] = std::fabs(scale) * (error + magnitude * kFloatEpsilon / 2 * (71 + shape_.k / 64));
    }
  }
  for (size_t r = 0; r < size(kHStride); ++r)
    expect_near(what + " h, row " + std::to_string(m), r, out.h[size(m) * size(kHStride) + r], expected[r], allowed[r]);
}

}  // namespace lowrank::test
