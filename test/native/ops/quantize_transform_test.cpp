// Corners of the input transform of the quantise ops. Its equation is proved by quantize_shrink_test.cpp, for every op.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "ops/quantize_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr TransformKind kAll = {true, true, true};

size_t size(int32_t value) { return static_cast<size_t>(value); }

// Channel 70 of K = 200 is no outlier, 64 is one.
constexpr int32_t kCols = 200;
constexpr int32_t kPlainChannel = 70;
constexpr int32_t kOutlierChannel = 64;
constexpr size_t kOutlierIndex = 2;  // among 0, 63, 64, 127, 128, 135, 199

}  // namespace

TEST("ops/quantize_shrink: float output is the same with any transform, to the bit") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : kQuantizeKinds)
      for (const TransformKind& transform : transform_kinds()) {
        const QuantizeShape plain = {kind, 3, kCols, ActivationFormat::kFloat32};
        QuantizeShape transformed = plain;
        transformed.transform = transform;
        QuantizeCase a(*backend, plain), b(*backend, transformed);
        for (int32_t m = 0; m < 3; ++m)
          for (int32_t k = 0; k < kCols; ++k)
            a.x(m, k) = b.x(m, k) = static_cast<float>((m + 1) * (k - 90)) * 0.01f;
        expect_same_bits(label(*backend, transformed.text()), b.run(1).values, a.run(1).values);
      }
}

TEST("ops/quantize_shrink: an outlier channel leaves q and scale as if it were zero") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : {QuantizeKind::kPlain, QuantizeKind::kSilu, QuantizeKind::kGeluTanh})
      for (const bool rotated : {false, true}) {
        const QuantizeShape shape = {kind, 2, kCols, ActivationFormat::kInt8, false, false, {true, true, rotated}};
        QuantizeCase call(*backend, shape);
        for (const int32_t channel : call.transform().outliers)
          call.x(1, channel) = 0.0f;
        const QuantizeOutput silent = call.run(1);
        for (const int32_t channel : call.transform().outliers)
          call.x(1, channel) = 1e30f;
        const QuantizeOutput loud = call.run(1);
        const std::string what = label(*backend, shape.text());
        expect_same_bits(what, loud.values, silent.values);
        expect_same_bits(what, loud.scale, silent.scale);
        CHECK(loud.compensation == silent.compensation);
        for (size_t j = 0; j < call.transform().outliers.size(); ++j) {
          CHECK_EQ(silent.row(1, 2).outliers[j], 0.0f);
          if (kind == QuantizeKind::kPlain) CHECK_EQ(loud.row(1, 2).outliers[j], 1e30f);
        }
      }
}

TEST("ops/quantize_shrink: zero rows stay zero, and so do rows of nothing but outliers") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : kQuantizeKinds)
      for (const int32_t cols : {kCols, 4161}) {
        QuantizeCase call(*backend, {kind, 2, cols, ActivationFormat::kInt8, true, false, kAll});
        for (int32_t k = 0; k < cols; ++k)
          call.x(0, k) = call.x(1, k) = 0.0f;
        call.x(1, kOutlierChannel) = 3.0f;
        const QuantizeOutput out = call.run(1);
        call.check(out);
        for (const float q : out.values)
          CHECK_EQ(q, 0.0f);
        for (const float scale : out.scale)
          CHECK_EQ(scale, 0.0f);
        for (const int32_t compensation : out.compensation)
          CHECK_EQ(compensation, 0);
        for (size_t j = 0; j < call.transform().outliers.size(); ++j) {
          CHECK_EQ(out.row(0, 2).outliers[j], 0.0f);
          CHECK_EQ(out.row(1, 2).outliers[j] != 0.0f, j == kOutlierIndex);
        }
      }
}

TEST("ops/quantize_shrink: NaN and Inf show in their own row's scale or outliers, and nowhere else") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : kQuantizeKinds)
      for (const TransformKind& transform : transform_kinds())
        for (const float fault : {kNaN, kInfinity, -kInfinity})
          for (const int32_t at : {kPlainChannel, kOutlierChannel}) {
            const QuantizeShape shape = {kind, 3, kCols, ActivationFormat::kInt8, true, false, transform};
            const std::string what = label(*backend, shape.text());
            QuantizeCase call(*backend, shape);
            const QuantizeOutput sound = call.run(1);
            // A gate of -Inf may count as zero where exp saturates: only its up can then be told.
            const bool glu = kind == QuantizeKind::kSilu || kind == QuantizeKind::kGeluTanh;
            call.x(1, glu && fault == -kInfinity ? kCols + at : at) = fault;
            const QuantizeOutput out = call.run(1);
            const QuantizeOutput row = out.row(1, 3);
            const bool in_outlier = transform.outliers && at == kOutlierChannel;
            if (in_outlier) CHECK(!std::isfinite(row.outliers[kOutlierIndex]));
            // A norm of NaN spreads over the row; one of Inf makes zeros of all but the channel itself.
            if (!in_outlier || (kind == QuantizeKind::kRmsNorm && std::isnan(fault)))
              CHECK(std::isnan(row.scale[0]));
            else
              CHECK(std::isfinite(row.scale[0]));
            if (std::isnan(row.scale[0]))
              for (size_t k = 0; k < size(kDefaultScaleGroup); ++k)
                CHECK_EQ(row.values[k], 0.0f);
            expect_same(what + " before a faulty row", out.row(0, 3), sound.row(0, 3));
            expect_same(what + " after a faulty row", out.row(2, 3), sound.row(2, 3));
          }
}

TEST("ops/quantize_shrink: a product with the smoothing that overflows shows in the scale") {
  for (const Backend* backend : available_backends())
    for (const bool rotated : {false, true}) {
      QuantizeCase call(*backend, {QuantizeKind::kPlain, 1, kCols, ActivationFormat::kInt8, false, false,
                                   {false, true, rotated}});
      for (int32_t k = 0; k < kCols; ++k)  // at least one of the factors is above 1
        call.x(0, k) = std::numeric_limits<float>::max();
      CHECK(std::isnan(call.run(1).scale[0]));
    }
}

TEST("ops/quantize_shrink: the rotation spreads one large channel, so that the others keep their steps") {
  for (const Backend* backend : available_backends()) {
    float scales[2];
    for (const bool rotated : {false, true}) {
      QuantizeCase call(*backend, {QuantizeKind::kPlain, 1, kCols, ActivationFormat::kInt8, false, false,
                                   {false, false, rotated}});
      call.x(0, kPlainChannel) = 1000.0f;
      const QuantizeOutput out = call.run(1);
      call.check(out);
      scales[size(rotated ? 1 : 0)] = out.scale[0];
    }
    CHECK(scales[1] < scales[0] / 7);  // 8, but for what the others add
  }
}

TEST("ops/quantize_shrink: the largest value of a rotated row may lie in K's padding") {
  for (const Backend* backend : available_backends()) {
    // K ends within the second block. Its channels 0, 16 and 32 add up where bits 4 and 5 are set: at 48 to 63.
    QuantizeCase call(*backend,
                      {QuantizeKind::kPlain, 1, 104, ActivationFormat::kInt8, false, false, {false, false, true}});
    for (int32_t k = 0; k < 104; ++k)
      call.x(0, k) = 0.0f;
    call.x(0, 64) = 8.0f;
    call.x(0, 80) = -8.0f;
    call.x(0, 96) = -8.0f;
    const QuantizeOutput out = call.run(1);
    call.check(out);
    CHECK_EQ(out.scale[0], 3.0f / 127.0f);
    for (size_t k = 112; k < 128; ++k)
      CHECK_EQ(out.values[k], 127.0f);
  }
}
