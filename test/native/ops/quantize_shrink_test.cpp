#include "ops/quantize_shrink.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kUntouched = 77.0f;
constexpr float kEpsilon = 1e-5f;

enum class Kind { kRmsNorm, kPlain, kSilu, kGeluTanh };
const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kRmsNorm: return "rmsnorm";
    case Kind::kPlain: return "plain";
    case Kind::kSilu: return "silu";
    case Kind::kGeluTanh: return "gelu_tanh";
  }
  return "";
}

struct Shape {
  Kind kind;
  int32_t m, k;
  ActivationFormat format;
  bool adapters, smoothed, indexed;
  std::string text() const {
    return std::string(name_of(kind)) + " M " + std::to_string(m) + ", K " + std::to_string(k) + ", format " +
           std::to_string(static_cast<int>(format)) + (adapters ? ", adapters" : "") +
           (smoothed ? ", smoothed" : "") + (indexed ? ", indexed" : "");
  }
};

size_t size(int32_t value) { return static_cast<size_t>(value); }

// What an op left for its rows, copied out for comparisons.
struct Output {
  std::vector<float> values;  // [M, stride]: values, or q
  std::vector<float> scale;   // [M], int8 only
  std::vector<int32_t> sum;   // [M], int8 only
  std::vector<float> h;       // [M, h_stride]
};

// One call of a quantise op with all that it reads. The numbers follow from the seed alone, not from the
// backend.
class Call {
 public:
  Call(const Backend& backend, const Shape& shape)
      : backend_(backend), shape_(shape), random_(static_cast<uint64_t>(shape.m * 7919 + shape.k)) {
    x_rows_ = shape.indexed ? shape.m + 3 : shape.m;
    x_stride_ = (glu() ? 2 * shape.k : shape.k) + 3;
    x_ = random_.floats(size(x_rows_) * size(x_stride_), -3.0f, 3.0f);
    gain_ = random_.floats(size(shape.k), 0.2f, 2.0f);
    if (shape.smoothed) input_scale_ = random_.floats(size(shape.k), 0.25f, 4.0f);
    if (shape.indexed)
      for (int32_t m = 0; m < shape.m; ++m)
        row_index_.push_back(x_rows_ - 1 - m);
    if (shape.adapters) make_adapters();
  }

  // Element k of the float row that row m reads (for the GLUs: K gates, then K ups).
  float& x(int32_t m, int32_t k) {
    const int32_t row = row_index_.empty() ? m : row_index_[size(m)];
    return x_[size(row) * size(x_stride_) + size(k)];
  }

  Output run(int parts) { return run_rows(0, shape_.m, parts); }

  // Rows [begin, end) as a batch of their own.
  Output run_rows(int32_t begin, int32_t end, int parts) {
    const int32_t rows = end - begin;
    const Unaligned x(x_), gain(gain_), scale(input_scale_), own_gain(own_gain_);
    ActivationStore out(shape_.format, rows, shape_.k);
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
    const float* input_scale = input_scale_.empty() ? nullptr : scale.data();
    const float* first = x.data() + (row_index_.empty() ? size(begin) * size(x_stride_) : 0);
    const int32_t* index = row_index_.empty() ? nullptr : row_index_.data() + begin;
    const OpTable& ops = backend_.ops();
    switch (shape_.kind) {
      case Kind::kRmsNorm:
        run_parts(ops.rmsnorm_quantize_shrink,
                  RmsNormQuantizeShrinkArgs{first, x_stride_, index, rows, gain.data(), kEpsilon, input_scale,
                                            out.view, adapters},
                  parts);
        break;
      case Kind::kPlain:
        run_parts(ops.quantize_shrink,
                  QuantizeShrinkArgs{first, x_stride_, rows, input_scale, out.view, adapters}, parts);
        break;
      case Kind::kSilu:
      case Kind::kGeluTanh:
        run_parts(
            ops.glu_quantize_shrink,
            GluQuantizeShrinkArgs{first, x_stride_, rows,
                                  shape_.kind == Kind::kSilu ? Activation::kSilu : Activation::kGeluTanh,
                                  input_scale, out.view, adapters},
            parts);
        break;
    }
    Output copy;
    const size_t elements = size(rows) * size(out.view.stride);
    if (shape_.format == ActivationFormat::kInt8) {
      copy.values.assign(out.view.q, out.view.q + elements);
      copy.scale.assign(out.view.scale, out.view.scale + rows);
      copy.sum.assign(out.view.sum, out.view.sum + rows);
    } else {
      copy.values.assign(out.view.values, out.view.values + elements);
    }
    copy.h.assign(h.data(), h.data() + size(rows) * size(kHStride));
    return copy;
  }

  // u of the contract in double precision, and how far float32 may be from it.
  double u(int32_t m, int32_t k, double& tolerance) {
    if (shape_.kind == Kind::kPlain) {
      tolerance = 0;
      return x(m, k);
    }
    if (shape_.kind == Kind::kRmsNorm) {
      double squares = 0;
      for (int32_t i = 0; i < shape_.k; ++i)
        squares += double{x(m, i)} * x(m, i);
      const double norm = std::sqrt(squares / shape_.k + double{kEpsilon});
      const AdapterRows* segment = segment_of(m);
      const bool own = segment != nullptr && segment->norm_gain != nullptr;
      const double value = x(m, k) / norm * (own ? own_gain_ : gain_)[size(k)];
      tolerance = 3e-6 * std::fabs(value);
      return value;
    }
    const double gate = x(m, k);
    const double up = x(m, shape_.k + k);
    const double pi = std::acos(-1.0);
    const double activated =
        shape_.kind == Kind::kSilu
            ? gate / (1 + std::exp(-gate))
            : 0.5 * gate * (1 + std::tanh(std::sqrt(2 / pi) * (gate + 0.044715 * gate * gate * gate)));
    // 1 + tanh cancels for negative gates.
    tolerance =
        1e-6 * std::fabs(up) * (shape_.kind == Kind::kSilu ? std::fabs(activated) : std::fabs(gate)) + 1e-30;
    return activated * up;
  }

  void check(const Output& out) {
    const std::string what = label(backend_, shape_.text());
    const int32_t stride = round_up(shape_.k, kActivationAlignment);
    for (int32_t m = 0; m < shape_.m; ++m) {
      std::vector<double> u_row, v_row, tolerances;
      double absmax = 0, absmax_tolerance = 0;
      for (int32_t k = 0; k < shape_.k; ++k) {
        double tolerance = 0;
        u_row.push_back(u(m, k, tolerance));
        tolerances.push_back(tolerance);
        const double factor = input_scale_.empty() ? 1 : input_scale_[size(k)];
        v_row.push_back(u_row.back() * factor);
        absmax = std::max(absmax, std::fabs(v_row.back()));
        absmax_tolerance = std::max(absmax_tolerance, tolerance * factor);
      }
      int64_t sum = 0;
      for (int32_t k = 0; k < stride; ++k) {
        const size_t index = size(m) * size(stride) + size(k);
        const float actual = out.values[index];
        if (k >= shape_.k) {
          expect_near(what + " padding", index, actual, 0, 0);
          continue;
        }
        const double factor = input_scale_.empty() ? 1 : input_scale_[size(k)];
        const double slack = tolerances[size(k)] * factor + kFloatEpsilon * std::fabs(v_row[size(k)]);
        if (shape_.format == ActivationFormat::kFloat32) {
          expect_near(what + " values", index, actual, v_row[size(k)], slack);
          continue;
        }
        const double scale = out.scale[size(m)];
        expect_near(what + " q", index, actual * scale, v_row[size(k)], scale * (0.5 + 3e-5) + slack);
        CHECK(std::fabs(actual) <= 127);
        sum += static_cast<int64_t>(actual);
      }
      if (shape_.format == ActivationFormat::kInt8) {
        expect_near(what + " scale", size(m), out.scale[size(m)], absmax / 127,
                    (absmax_tolerance + 2 * kFloatEpsilon * absmax) / 127);
        CHECK_EQ(int64_t{out.sum[size(m)]}, sum);
      }
      check_h(out, m, u_row, tolerances, what);
    }
  }

 private:
  static constexpr int32_t kHStride = 41;

  bool glu() const { return shape_.kind == Kind::kSilu || shape_.kind == Kind::kGeluTanh; }

  // Every fourth row has no adapter; of the others, two kinds take turns: one term, or two and an own norm
  // gain.
  void make_adapters() {
    factors_.push_back(std::make_unique<TestFactors>(backend_, random_, 5, shape_.k, 1, LoraDType::kFloat32));
    factors_.push_back(
        std::make_unique<TestFactors>(backend_, random_, 1, shape_.k, 1, LoraDType::kBFloat16));
    factors_.push_back(
        std::make_unique<TestFactors>(backend_, random_, 33, shape_.k, 1, LoraDType::kBFloat16));
    own_gain_ = random_.floats(size(shape_.k), -2.0f, 2.0f);
    one_term_ = {{factors_[0]->a_packed.get(), 2, 1.75f}};
    two_terms_ = {{factors_[1]->a_packed.get(), 0, -0.5f}, {factors_[2]->a_packed.get(), 3, 2.0f}};
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
      segment.norm_gain = two && shape_.kind == Kind::kRmsNorm ? own_gain_.data() : nullptr;
      segments_.push_back(segment);
    }
  }

  const AdapterRows* segment_of(int32_t m) const {
    for (const AdapterRows& segment : segments_)
      if (m >= segment.row_begin && m < segment.row_end) return &segment;
    return nullptr;
  }

  void check_h(const Output& out, int32_t m, const std::vector<double>& u_row,
               const std::vector<double>& tolerances, const std::string& what) const {
    std::vector<double> expected(size(kHStride), double{kUntouched}), allowed(size(kHStride), 0.0);
    const AdapterRows* segment = segment_of(m);
    for (int32_t t = 0; segment != nullptr && t < segment->shrink_count; ++t) {
      const ShrinkTerm& term = segment->shrink[t];
      const TestFactors& factors = *factors_[segment->shrink_count == 1 ? 0 : size(1 + t)];
      for (int32_t r = 0; r < factors.rank; ++r) {
        double sum = 0, magnitude = 0, error = 0;
        for (size_t k = 0; k < u_row.size(); ++k) {
          const double a = factors.a[size(r) * u_row.size() + k];
          sum += u_row[k] * a;
          magnitude += std::fabs(u_row[k] * a);
          error += tolerances[k] * std::fabs(a);
        }
        const size_t at = size(term.h_offset + r);
        expected[at] = double{term.scale} * sum;
        allowed[at] = std::fabs(term.scale) * (error + magnitude * kFloatEpsilon / 2 * (70 + shape_.k / 64));
      }
    }
    for (size_t r = 0; r < size(kHStride); ++r)
      expect_near(what + " h, row " + std::to_string(m), r, out.h[size(m) * size(kHStride) + r], expected[r],
                  allowed[r]);
  }

  const Backend& backend_;
  Shape shape_;
  Random random_;
  int32_t x_rows_ = 0, x_stride_ = 0;
  std::vector<float> x_, gain_, own_gain_, input_scale_;
  std::vector<int32_t> row_index_;
  std::vector<std::unique_ptr<TestFactors>> factors_;
  std::vector<ShrinkTerm> one_term_, two_terms_;
  std::vector<AdapterRows> segments_;
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  const int32_t sizes[][2] = {{1, 1}, {2, 3}, {1, 64}, {7, 65}, {17, 130}, {3, 576}, {17, 67}, {5, 1000}};
  for (const Kind kind : {Kind::kRmsNorm, Kind::kPlain, Kind::kSilu, Kind::kGeluTanh})
    for (const auto& s : sizes)
      for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32})
        for (int mask = 0; mask < 4; ++mask) {
          all.push_back({kind, s[0], s[1], format, (mask & 1) != 0, (mask & 2) != 0, false});
          if (kind == Kind::kRmsNorm)
            all.push_back({kind, s[0], s[1], format, (mask & 1) != 0, (mask & 2) != 0, true});
        }
  return all;
}

void expect_same(const std::string& what, const Output& actual, const Output& expected) {
  expect_same_bits(what + " values", actual.values, expected.values);
  expect_same_bits(what + " scale", actual.scale, expected.scale);
  expect_same_bits(what + " h", actual.h, expected.h);
  CHECK(actual.sum == expected.sum);
}

Output row_of(const Output& out, int32_t m, int32_t rows) {
  const auto slice = [&](const auto& all) {
    const auto each = static_cast<std::ptrdiff_t>(all.size() / size(rows));
    return std::decay_t<decltype(all)>(all.begin() + m * each, all.begin() + (m + 1) * each);
  };
  return {slice(out.values), slice(out.scale), slice(out.sum), slice(out.h)};
}

}  // namespace

TEST("ops/quantize_shrink: the equations") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      Call call(*backend, shape);
      call.check(call.run(1));
    }
}

TEST("ops/quantize_shrink: a plain row quantises to the same bits on every instruction set") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      if (shape.kind != Kind::kPlain) continue;
      const Output actual = Call(*backend, shape).run(1);
      const Output reference = Call(cpu_backend("reference"), shape).run(1);
      expect_same_bits(label(*backend, shape.text()), actual.values, reference.values);
      expect_same_bits(label(*backend, shape.text()), actual.scale, reference.scale);
    }
}

TEST("ops/quantize_shrink: bit-identical for any number of parts, and for a row alone") {
  for (const Backend* backend : available_backends())
    for (const Shape& shape : shapes()) {
      Call call(*backend, shape);
      const std::string what = label(*backend, shape.text());
      const Output whole = call.run(1);
      for (int parts = 2; parts <= 4; ++parts)
        expect_same(what + " in parts", call.run(parts), whole);
      for (int32_t m = 0; m < shape.m; ++m)
        expect_same(what + " alone", call.run_rows(m, m + 1, 1), row_of(whole, m, shape.m));
    }
}

TEST("ops/quantize_shrink: ties go to even, zero rows stay zero, an outlier takes the scale") {
  for (const Backend* backend : available_backends()) {
    Call call(*backend, {Kind::kPlain, 3, 70, ActivationFormat::kInt8, false, false, false});
    for (int32_t k = 0; k < 70; ++k) {
      call.x(0, k) = k == 0 ? -127.0f : static_cast<float>(k - 35) + 0.5f;
      call.x(1, k) = 0.0f;
      if (k == 69) call.x(2, k) = -1e4f;
    }
    const Output out = call.run(1);
    call.check(out);
    for (int32_t k = 1; k < 70; ++k) {
      const int32_t below = k - 35;  // the value lies half way between below and below + 1
      CHECK_EQ(static_cast<int32_t>(out.values[size(k)]), below % 2 == 0 ? below : below + 1);
    }
    CHECK_EQ(out.scale[0], 1.0f);
    CHECK_EQ(out.scale[1], 0.0f);
    CHECK_EQ(out.sum[1], 0);
    CHECK_NEAR(out.scale[2], 1e4 / 127, 1e-5);
    CHECK_EQ(out.values[2 * 128 + 69], -127.0f);
  }
}

TEST("ops/quantize_shrink: extreme gates keep the GLUs finite and right") {
  for (const Backend* backend : available_backends())
    for (const Kind kind : {Kind::kSilu, Kind::kGeluTanh})
      for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32}) {
        const float gates[] = {-1e4f, -200.0f, -100.0f, -88.5f, -87.0f, -20.0f, -1e-6f, 0.0f, 1e-6f,
                               20.0f, 87.0f,   88.5f,   100.0f, 1e4f,   -10.0f, -5.0f,  5.0f, 10.0f};
        Call call(*backend, {kind, 1, 18, format, false, false, false});
        for (int32_t k = 0; k < 18; ++k) {
          call.x(0, k) = gates[k];
          call.x(0, 18 + k) = 1.0f;
        }
        call.check(call.run(1));
      }
}

TEST("ops/quantize_shrink: NaN and Inf show in their own row's scale or values, and nowhere else") {
  for (const Backend* backend : available_backends())
    for (const Kind kind : {Kind::kRmsNorm, Kind::kPlain, Kind::kSilu, Kind::kGeluTanh})
      for (const float fault : {kNaN, kInfinity, -kInfinity})
        for (const int32_t at : {0, 63, 64, 66}) {
          const std::string what = label(*backend, name_of(kind));
          for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32}) {
            Call call(*backend, {kind, 3, 67, format, true, false, false});
            const Output sound = call.run(1);
            // A gate of -Inf may count as zero where exp saturates: only its up can then be told.
            const bool gate_vanishes =
                fault == -kInfinity && (kind == Kind::kSilu || kind == Kind::kGeluTanh);
            call.x(1, gate_vanishes ? 67 + at : at) = fault;
            const Output out = call.run(1);
            if (format == ActivationFormat::kInt8) {
              expect_near(what + " scale of a faulty row", size(at), out.scale[1], double{kNaN}, 0);
            } else {
              const auto row = out.values.begin() + 128;
              CHECK(std::any_of(row, row + 67, [](float value) { return !std::isfinite(value); }));
            }
            CHECK(!std::isfinite(out.h[41 + 2]));
            expect_same(what + " before a faulty row", row_of(out, 0, 3), row_of(sound, 0, 3));
            expect_same(what + " after a faulty row", row_of(out, 2, 3), row_of(sound, 2, 3));
          }
        }
}
