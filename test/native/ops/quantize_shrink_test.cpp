#include "ops/quantize_shrink.h"

#include <algorithm>
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

size_t size(int32_t value) { return static_cast<size_t>(value); }

// Every op with every transform, and float output with all of it, which must be left out.
std::vector<QuantizeShape> shapes(const Backend& backend) {
  std::vector<QuantizeShape> all;
  const int32_t sizes[][2] = {{1, 1}, {2, 3}, {1, 64}, {7, 65}, {17, 130}, {3, 576}, {17, 67}, {5, 1000}, {2, 4161}};
  for (const QuantizeKind kind : kQuantizeKinds)
    for (const auto& s : sizes)
      for (const bool adapters : {false, true})
        for (const bool indexed : {false, true}) {
          if (indexed && kind != QuantizeKind::kRmsNorm) continue;
          for (const TransformKind& transform : transform_kinds())
            all.push_back({kind, s[0], s[1], ActivationFormat::kInt8, adapters, indexed, transform});
          for (const TransformKind& transform : {TransformKind{}, TransformKind{true, true, true}})
            all.push_back({kind, s[0], s[1], ActivationFormat::kFloat32, adapters, indexed, transform});
        }
  // More chunks than one of 4,096 columns, the last of them narrow.
  for (const QuantizeKind kind : {QuantizeKind::kRmsNorm, QuantizeKind::kPlain})
    for (const TransformKind& transform : transform_kinds())
      all.push_back({kind, 5, 8260, ActivationFormat::kInt8, true, false, transform});
  // Several rows a block with more chunks than one of 2,048 columns, and the widest row.
  for (const QuantizeKind kind : kQuantizeKinds)
    all.push_back({kind, 18, 2180, ActivationFormat::kInt8, true, false, {true, true, true}});
  all.push_back({QuantizeKind::kPlain, 1, 1 << 17, ActivationFormat::kInt8, true, false, {true, true, true}});
  for (const int32_t group : group_sizes(backend))
    for (const auto& s : sizes)
      for (const QuantizeKind kind : kQuantizeKinds)
        if (group != kDefaultScaleGroup)
          for (const TransformKind& transform : {TransformKind{}, TransformKind{true, true, true}})
            all.push_back({kind, s[0], s[1], ActivationFormat::kInt8, true, false, transform, group});
  return all;
}

}  // namespace

TEST("ops/quantize_shrink: the equations") {
  for (const Backend* backend : available_backends())
    for (const QuantizeShape& shape : shapes(*backend)) {
      QuantizeCase call(*backend, shape);
      call.check(call.run(1));
    }
}

TEST("ops/quantize_shrink: a plain row quantises to the same bits on every instruction set") {
  for (const Backend* backend : available_backends())
    for (const QuantizeShape& shape : shapes(*backend)) {
      if (shape.kind != QuantizeKind::kPlain) continue;
      const QuantizeOutput actual = QuantizeCase(*backend, shape).run(1);
      const QuantizeOutput reference = QuantizeCase(cpu_backend("reference"), shape).run(1);
      expect_same_bits(label(*backend, shape.text()), actual.values, reference.values);
      expect_same_bits(label(*backend, shape.text()), actual.scale, reference.scale);
      expect_same_bits(label(*backend, shape.text()), actual.outliers, reference.outliers);
      if (!actual.compensation.empty()) CHECK(actual.compensation == reference.compensation);
    }
}

TEST("ops/quantize_shrink: bit-identical for any number of parts, and for a row alone") {
  for (const Backend* backend : available_backends())
    for (const QuantizeShape& shape : shapes(*backend)) {
      QuantizeCase call(*backend, shape);
      const std::string what = label(*backend, shape.text());
      const QuantizeOutput whole = call.run(1);
      for (int parts = 2; parts <= max_parts(*backend); ++parts)
        expect_same(what + " in parts", call.run(parts), whole);
      for (int32_t m = 0; m < shape.m; ++m)
        expect_same(what + " alone", call.run_rows(m, m + 1, 1), whole.row(m, shape.m));
    }
}

TEST("ops/quantize_shrink: ties go to even, zero rows stay zero, an outlier takes the scale") {
  for (const Backend* backend : available_backends()) {
    QuantizeCase call(*backend, {QuantizeKind::kPlain, 3, 70, ActivationFormat::kInt8, false, false});
    for (int32_t k = 0; k < 70; ++k) {
      call.x(0, k) = k == 0 ? -127.0f : static_cast<float>(k - 35) + 0.5f;
      call.x(1, k) = 0.0f;
      if (k == 69) call.x(2, k) = -1e4f;
    }
    const QuantizeOutput out = call.run(1);
    call.check(out);
    for (int32_t k = 1; k < 70; ++k) {
      const int32_t below = k - 35;  // the value lies half way between below and below + 1
      CHECK_EQ(static_cast<int32_t>(out.values[size(k)]), below % 2 == 0 ? below : below + 1);
    }
    CHECK_EQ(out.scale[0], 1.0f);
    CHECK_EQ(out.scale[1], 0.0f);
    if (!out.compensation.empty()) CHECK_EQ(out.compensation[1], 0);
    CHECK_NEAR(out.scale[2], 1e4 / 127, 1e-5);
    CHECK_EQ(out.values[2 * 128 + 69], -127.0f);
  }
}

TEST("ops/quantize_shrink: extreme gates keep the GLUs finite and right") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : {QuantizeKind::kSilu, QuantizeKind::kGeluTanh})
      for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32}) {
        const float gates[] = {-1e4f, -200.0f, -100.0f, -88.5f, -87.0f, -20.0f, -1e-6f, 0.0f, 1e-6f,
                               20.0f, 87.0f,   88.5f,   100.0f, 1e4f,   -10.0f, -5.0f,  5.0f, 10.0f};
        QuantizeCase call(*backend, {kind, 1, 18, format, false, false});
        for (int32_t k = 0; k < 18; ++k) {
          call.x(0, k) = gates[k];
          call.x(0, 18 + k) = 1.0f;
        }
        call.check(call.run(1));
      }
}

TEST("ops/quantize_shrink: NaN and Inf show in their own row's scale or values, and nowhere else") {
  for (const Backend* backend : available_backends())
    for (const QuantizeKind kind : {QuantizeKind::kRmsNorm, QuantizeKind::kPlain, QuantizeKind::kSilu, QuantizeKind::kGeluTanh})
      for (const float fault : {kNaN, kInfinity, -kInfinity})
        for (const int32_t at : {0, 63, 64, 66}) {
          const std::string what = label(*backend, name_of(kind));
          for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kFloat32}) {
            QuantizeCase call(*backend, {kind, 3, 67, format, true, false});
            const QuantizeOutput sound = call.run(1);
            // A gate of -Inf may count as zero where exp saturates: only its up can then be told.
            const bool gate_vanishes =
                fault == -kInfinity && (kind == QuantizeKind::kSilu || kind == QuantizeKind::kGeluTanh);
            call.x(1, gate_vanishes ? 67 + at : at) = fault;
            const QuantizeOutput out = call.run(1);
            if (format == ActivationFormat::kInt8) {
              expect_near(what + " scale of a faulty row", size(at), out.scale[1], double{kNaN}, 0);
            } else {
              const auto row = out.values.begin() + 128;
              CHECK(std::any_of(row, row + 67, [](float value) { return !std::isfinite(value); }));
            }
            CHECK(!std::isfinite(out.h[41 + 2]));
            expect_same(what + " before a faulty row", out.row(0, 3), sound.row(0, 3));
            expect_same(what + " after a faulty row", out.row(2, 3), sound.row(2, 3));
          }
        }
}
