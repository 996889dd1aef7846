#include "core/float16.h"

#include <cmath>
#include <limits>
#include <random>

#include "check.h"

using namespace lowrank;

namespace {

// The value that a float16 bit pattern stands for, by the definition of the format.
double float16_by_definition(uint32_t bits) {
  const int sign = (bits & 0x8000) != 0 ? -1 : 1;
  const int exponent = static_cast<int>(bits >> 10) & 31;
  const int mantissa = static_cast<int>(bits & 0x3ff);
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

// `value` rounded to a multiple of the spacing that a format with `mantissa_bits` and smallest exponent
// `min_exponent` has there, ties to even.
double rounded(double value, int mantissa_bits, int min_exponent) {
  const int exponent = std::max(std::ilogb(value), min_exponent);
  const double spacing = std::ldexp(1.0, exponent - mantissa_bits);
  return std::nearbyint(value / spacing) * spacing;
}

}  // namespace

TEST("float16: all 65,536 patterns become the float32 of their value, and come back") {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = float16_to_float32(static_cast<uint16_t>(bits));
    if ((bits & 0x7c00) == 0x7c00) {
      if ((bits & 0x3ff) == 0) {
        CHECK(std::isinf(value));
        CHECK_EQ(float32_to_float16(value), bits);
      } else {
        CHECK(std::isnan(value));
        CHECK_EQ(float32_to_float16(value), bits | 0x0200);
      }
      CHECK_EQ(std::signbit(value), (bits & 0x8000) != 0);
      continue;
    }
    CHECK_EQ(static_cast<double>(value), float16_by_definition(bits));
    CHECK_EQ(std::signbit(value), (bits & 0x8000) != 0);
    CHECK_EQ(float32_to_float16(value), bits);
  }
}

TEST("float16: float32 is rounded to the nearest, ties to even") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200000; ++i) {
    // Exponents from below the smallest subnormal to beyond the largest value; every 4th on a tie or beside
    // one.
    uint32_t bits = static_cast<uint32_t>(random());
    bits = (bits & 0x807fffff) | ((100 + (bits >> 23) % 44) << 23);
    if (i % 4 == 0) bits = (bits & ~0x1fffu) | (0x1000 + static_cast<uint32_t>(random() % 3) - 1);
    const float value = std::bit_cast<float>(bits);
    const double expected = rounded(static_cast<double>(value), 10, -14);
    const double received = static_cast<double>(float16_to_float32(float32_to_float16(value)));
    if (std::fabs(expected) > 65504) {
      CHECK(std::isinf(received));
    } else {
      CHECK_EQ(received, expected);
    }
    CHECK_EQ(std::signbit(received), std::signbit(value));
  }
}

TEST("float16: the borders of zero, of subnormals and of infinity") {
  CHECK_EQ(float32_to_float16(0x1p-25f), 0x0000);  // a tie with zero
  CHECK_EQ(float32_to_float16(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  CHECK_EQ(float32_to_float16(-0x1p-149f), 0x8000);
  CHECK_EQ(float32_to_float16(0x1.ffep-15f), 0x0400);  // rounds up out of the subnormals
  CHECK_EQ(float32_to_float16(65504.0f), 0x7bff);
  CHECK_EQ(float32_to_float16(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  CHECK_EQ(float32_to_float16(65520.0f), 0x7c00);
  CHECK_EQ(float32_to_float16(-std::numeric_limits<float>::max()), 0xfc00);
}

TEST("bfloat16: all 65,536 patterns become the float32 of their value, and come back") {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = bfloat16_to_float32(static_cast<uint16_t>(bits));
    CHECK_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    CHECK_EQ(float32_to_bfloat16(value), std::isnan(value) ? (bits | 0x40) : bits);
  }
}

TEST("bfloat16: float32 is rounded to the nearest, ties to even") {
  std::mt19937_64 random(8);
  for (int i = 0; i < 200000; ++i) {
    uint32_t bits = static_cast<uint32_t>(random());
    if (i % 4 == 0) bits = (bits & ~0xffffu) | (0x8000 + static_cast<uint32_t>(random() % 3) - 1);
    const float value = std::bit_cast<float>(bits);
    if (!std::isfinite(value) || value == 0) continue;
    const double expected = rounded(static_cast<double>(value), 7, -126);
    const float received = bfloat16_to_float32(float32_to_bfloat16(value));
    if (std::fabs(expected) > 0x1.fep127) {
      CHECK(std::isinf(received));
    } else {
      CHECK_EQ(static_cast<double>(received), expected);
    }
  }
  // The payload lies in the dropped half: still a NaN.
  CHECK(std::isnan(bfloat16_to_float32(float32_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
}
