#include "quant/int8.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

TEST("quant/int8: rounds halves to even, both signs") {
  // absmax 127 makes the scale 1, so the values are in steps.
  const std::vector<float> x = {127.0f, 0.5f,   1.5f,   2.5f,        -0.5f,  -1.5f,
                                -2.5f,  125.5f, 126.5f, 0.49999997f, -126.5f};
  const std::vector<int> expected = {127, 0, 2, 2, 0, -2, -2, 126, 126, 0, -126};
  std::vector<int8_t> q(x.size());
  CHECK_EQ(quantize_group_int8(x.data(), static_cast<int32_t>(x.size()), q.data()), 1.0f);
  for (size_t k = 0; k < x.size(); ++k)
    CHECK_EQ(int{q[k]}, expected[k]);
}

TEST("quant/int8: the error stays within its bound, at every magnitude") {
  Random random(1);
  for (int exponent = -99; exponent <= 126; exponent += 5) {
    std::vector<float> x = random.floats(301, -1.0f, 1.0f);
    for (float& value : x)
      value = std::ldexp(value, exponent);
    std::vector<int8_t> q(x.size());
    const float scale = quantize_group_int8(x.data(), static_cast<int32_t>(x.size()), q.data());
    int largest = 0;
    for (size_t k = 0; k < x.size(); ++k) {
      CHECK_NEAR(double{x[k]}, double{scale} * q[k], double{scale} * (0.5 + 3e-5));
      largest = std::max(largest, std::abs(int{q[k]}));
    }
    CHECK_EQ(largest, 127);
  }
}

TEST("quant/int8: all +-absmax gives all +-127") {
  for (const float absmax : {1e4f, 3.0f, 0.1f, 1e-29f, std::numeric_limits<float>::max()}) {
    const std::vector<float> x = {absmax, -absmax, absmax, -absmax, -absmax};
    std::vector<int8_t> q(x.size());
    const float scale = quantize_group_int8(x.data(), 5, q.data());
    CHECK_NEAR(scale, absmax / 127, absmax * 1e-7);
    for (size_t k = 0; k < x.size(); ++k)
      CHECK_EQ(int{q[k]}, x[k] > 0 ? 127 : -127);
  }
}

TEST("quant/int8: zero, tiny and faulty rows") {
  int8_t q[3];
  const auto quantized = [&](float a, float b, float c) {
    const float x[] = {a, b, c};
    q[0] = q[1] = q[2] = 99;
    const float scale = quantize_group_int8(x, 3, q);
    return scale;
  };
  const auto all_zero = [&] { return q[0] == 0 && q[1] == 0 && q[2] == 0; };
  CHECK_EQ(quantized(0.0f, -0.0f, 0.0f), 0.0f);
  CHECK(all_zero());
  CHECK_EQ(quantized(1e-40f, 0.0f, -1e-38f), 0.0f);
  CHECK(all_zero());
  CHECK(quantized(kInt8SmallestAbsmax, 0.0f, 0.0f) > 0.0f);
  CHECK_EQ(int{q[0]}, 127);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  for (const float fault : {kInfinity, -kInfinity, kNaN, -kNaN}) {
    CHECK(std::isnan(quantized(1.0f, fault, 2.0f)));
    CHECK(all_zero());
  }
}

TEST("quant/int8: the dot product of quantised rows stays within its bound") {
  Random random(2);
  for (const size_t count : {1u, 3u, 64u, 577u}) {
    const std::vector<float> x = random.floats(count, -2.0f, 3.0f);
    const std::vector<float> w = random.floats(count, -0.1f, 0.1f);
    std::vector<int8_t> qx(count), qw(count);
    const double sx = quantize_group_int8(x.data(), static_cast<int32_t>(count), qx.data());
    const double sw = quantize_group_int8(w.data(), static_cast<int32_t>(count), qw.data());
    double exact = 0, quantized = 0, x_norm = 0, w_norm = 0;
    for (size_t k = 0; k < count; ++k) {
      exact += double{x[k]} * w[k];
      quantized += sx * sw * qx[k] * qw[k];
      x_norm += std::fabs(x[k]);
      w_norm += std::fabs(w[k]);
    }
    const double bound = sw / 2 * x_norm + sx / 2 * w_norm + static_cast<double>(count) * sx * sw / 4;
    CHECK_NEAR(quantized, exact, bound * (1 + 1e-4));
  }
}

TEST("quant/int8: weights are rounded from the quotient, bit for bit") {
  Random random(3);
  for (const float range : {1e-3f, 0.7f, 30.0f}) {
    const std::vector<float> w = random.floats(4001, -range, range);
    std::vector<int8_t> q(w.size());
    const float scale = quantize_weights_int8(w.data(), static_cast<int32_t>(w.size()), ScaleFormat::kFloat32, q.data());
    float absmax = 0.0f;
    for (const float value : w)
      absmax = std::max(absmax, std::fabs(value));
    CHECK_EQ(scale, absmax / 127.0f);
    for (size_t k = 0; k < w.size(); ++k)
      CHECK_EQ(static_cast<float>(q[k]), std::nearbyint(w[k] / scale));
  }
  const float zeros[] = {0.0f, -0.0f, 1e-35f};
  int8_t q[3] = {9, 9, 9};
  CHECK_EQ(quantize_weights_int8(zeros, 3, ScaleFormat::kBFloat16, q), 0.0f);
  CHECK(q[0] == 0 && q[1] == 0 && q[2] == 0);
}

TEST("quant/int8: a weight scale in bfloat16 is the next one up, and keeps every weight within half a step") {
  Random random(4);
  for (int exponent = -99; exponent <= 126; exponent += 3) {
    std::vector<float> w = random.floats(128, -1.0f, 1.0f);
    for (float& value : w)
      value = std::ldexp(value, exponent);
    std::vector<int8_t> q(w.size()), other(w.size());
    const float scale = quantize_weights_int8(w.data(), 128, ScaleFormat::kBFloat16, q.data());
    const float exact = quantize_weights_int8(w.data(), 128, ScaleFormat::kFloat32, other.data());
    CHECK_EQ(std::bit_cast<uint32_t>(scale) & 0xffffu, 0u);
    CHECK(scale >= exact && scale <= exact * (1 + 1.0f / 128));
    for (size_t k = 0; k < w.size(); ++k)
      CHECK_NEAR(double{w[k]}, double{scale} * q[k], double{scale} * (0.5 + 3e-5));
  }
  CHECK_EQ(round_up_to_bfloat16(0x1.02p0f), 0x1.02p0f);  // what it holds stays
  CHECK_EQ(round_up_to_bfloat16(0x1.020002p0f), 0x1.04p0f);
  CHECK(std::isinf(round_up_to_bfloat16(std::numeric_limits<float>::max())));
}
