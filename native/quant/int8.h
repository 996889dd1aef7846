// The int8 format of weights and activations: x[k] is about scale * q[k], with q in [-127, 127] and one scale for a
// group of neighbouring values (input channels of an output channel's weights, or of a token's activations).
//
//   scale   = absmax / 127
//   inverse = 127 / absmax
//   q[k]    = round_half_even(x[k] * inverse)
//
// all in float32 (IEEE single operations, no fused multiply-add), so every instruction set gets the same
// bits. The product with the inverse, rather than a quotient, moves a value by at most 2 ulp of 127, that
// is 1.6e-5 of a step.
//
// Weights are quantised once, so they afford the quotient, q[k] = round_half_even(x[k] / scale): what a reader of a
// checkpoint would write down, and bit-equal to it. Their scale may be rounded up to bfloat16, which makes a step at most
// 1/128 wider and takes half the memory.
//
// Error bound: |x[k] - scale * q[k]| <= scale * (0.5 + 3e-5). For a dot product over K of a group x (scale sx)
// and a group w (scale sw), up to that rounding:
//   |x.w - sx sw qx.qw| <= (sw / 2) |x|_1 + (sx / 2) |w|_1 + K sx sw / 4
//
// Special groups: an absmax below kInt8SmallestAbsmax counts as zero (scale 0, q 0), since the inverse of smaller
// ones would leave float32's range. NaN or Inf anywhere gives scale NaN and q 0, so that a fault in an
// activation reaches the logits; weights with such values are refused when they are packed.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "core/host_device.h"

namespace lowrank {

inline constexpr int32_t kInt8Max = 127;
inline constexpr float kInt8SmallestAbsmax = 0x1p-100f;

// The bits of |value|: as integers they order as the magnitudes do, with Inf and every NaN on top. So one
// integer maximum over a row finds its absmax and whether it is finite.
LOWRANK_HOST_DEVICE inline uint32_t magnitude_bits(float value) { return std::bit_cast<uint32_t>(value) & 0x7fffffffu; }
inline constexpr uint32_t kInfinityBits = 0x7f800000u;

inline uint32_t max_magnitude_bits(const float* x, int64_t count) {
  uint32_t largest = 0;
  for (int64_t k = 0; k < count; ++k) {
    const uint32_t bits = magnitude_bits(x[k]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

struct Int8Scale {
  float scale;    // multiplies q; 0 for a zero group, NaN for one that is not finite
  float inverse;  // multiplies x; 0 for both
};

LOWRANK_HOST_DEVICE inline Int8Scale int8_scale(uint32_t absmax_bits) {
  if (absmax_bits >= kInfinityBits) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  const float absmax = std::bit_cast<float>(absmax_bits);
  if (absmax < kInt8SmallestAbsmax) return {0.0f, 0.0f};
  return {absmax / static_cast<float>(kInt8Max), static_cast<float>(kInt8Max) / absmax};
}

// round_half_even(value) for |value| < 2^22. Adding 1.5 * 2^23 leaves the integer in the mantissa's low bits,
// rounded by the addition itself (to nearest even, the mode that C++ starts in); it needs no rounding
// instruction.
LOWRANK_HOST_DEVICE inline int32_t round_half_even(float value) {
  constexpr float kShift = 0x1.8p23f;
  return std::bit_cast<int32_t>(value + kShift) - std::bit_cast<int32_t>(kShift);
}

// x must be of a group whose scale is finite: |x * inverse| is then at most 127 and a rounding.
LOWRANK_HOST_DEVICE inline int8_t quantize_int8(float x, float inverse) {
  const int32_t q = round_half_even(x * inverse);
  return static_cast<int8_t>(q > kInt8Max ? kInt8Max : q < -kInt8Max ? -kInt8Max : q);
}

// Quantises x [count] into q [count]; returns its scale. What is not finite gives q = 0 and scale NaN.
inline float quantize_group_int8(const float* x, int32_t count, int8_t* q) {
  const Int8Scale row = int8_scale(max_magnitude_bits(x, count));
  if (row.inverse == 0.0f) {
    for (int32_t k = 0; k < count; ++k)
      q[k] = 0;
    return row.scale;
  }
  for (int32_t k = 0; k < count; ++k)
    q[k] = quantize_int8(x[k], row.inverse);
  return row.scale;
}

enum class ScaleFormat : uint8_t { kFloat32, kBFloat16 };

// The least bfloat16 number that is not below `value`, which is finite and not negative. Infinity where there is none.
inline float round_up_to_bfloat16(float value) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0xffffu) & 0xffff0000u);
}

// The same for weights: the quotient in place of the product, and a scale that its format holds exactly. A scale beyond
// that format is infinite; q is then 0.
inline float quantize_weights_int8(const float* w, int32_t count, ScaleFormat format, int8_t* q) {
  const Int8Scale group = int8_scale(max_magnitude_bits(w, count));
  const float scale = format == ScaleFormat::kFloat32 || group.inverse == 0.0f ? group.scale : round_up_to_bfloat16(group.scale);
  for (int32_t k = 0; k < count; ++k)
    q[k] = group.inverse == 0.0f ? int8_t{0} : quantize_int8(w[k] / scale, 1.0f);
  return scale;
}

}  // namespace lowrank
