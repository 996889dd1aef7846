// IEEE 754 binary16 (float16) and bfloat16 to and from float32, in portable integer code: F16C and the like
// are not assumed, since these files are built for the baseline CPU. The conversions to float32 are exact for
// every input and branch-free (compilers vectorise loops over them); the conversions from float32 round to
// nearest, ties to even, whatever the rounding mode of the thread, and are right with denormals flushed to
// zero.
#pragma once

#include <bit>
#include <cstdint>

#include "core/host_device.h"

namespace lowrank {

// float16: 1 sign bit, 5 exponent bits (bias 15), 10 mantissa bits. NaNs keep their payload.
inline float float16_to_float32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  // Normal numbers: move the fields into place and re-bias the exponent by 127 - 15. Infinity and NaN
  // (exponent 31) take the same amount again, which makes the exponent all ones.
  const uint32_t is_special = magnitude >= 0x7c00u ? 1u : 0u;
  const uint32_t normal = (magnitude << 13) + ((112u + 112u * is_special) << 23);
  // Zero and subnormals are mantissa * 2^-24, which float32 holds as a normal number. The mask, in place of a
  // choice between the two, lets compilers vectorise.
  const float subnormal = static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f;
  const uint32_t subnormal_mask = magnitude < 0x0400u ? 0xffffffffu : 0u;
  const uint32_t bits = (std::bit_cast<uint32_t>(subnormal) & subnormal_mask) | (normal & ~subnormal_mask);
  return std::bit_cast<float>(bits | sign);
}

// Values whose magnitude is 65520 or more become infinity; magnitudes of at most 2^-25 become zero.
// NaN stays NaN (quiet, the top of its payload kept).
inline uint16_t float32_to_float16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x03ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  uint32_t dropped_bits = 13;
  uint32_t source = magnitude - (112u << 23);
  if (magnitude < 0x38800000u) {  // below 2^-14: a subnormal, mantissa * 2^-24
    const uint32_t exponent = magnitude >> 23;
    // 14 for [2^-15, 2^-14) to 24 for [2^-25, 2^-24); smaller values round to zero.
    dropped_bits = 126u - exponent;
    if (dropped_bits > 24u) return static_cast<uint16_t>(sign);
    source = (magnitude & 0x007fffffu) | 0x00800000u;
  }
  uint32_t kept = source >> dropped_bits;
  const uint32_t rest = source & ((1u << dropped_bits) - 1u);
  const uint32_t half = 1u << (dropped_bits - 1u);
  // A carry out of the mantissa moves the exponent up by one, which is the right result.
  kept += (rest > half || (rest == half && (kept & 1u) != 0)) ? 1u : 0u;
  return static_cast<uint16_t>(sign | kept);
}

// bfloat16: the upper half of a float32.
LOWRANK_HOST_DEVICE inline float bfloat16_to_float32(uint16_t brain) {
  return std::bit_cast<float>(static_cast<uint32_t>(brain) << 16);
}

// NaN stays NaN (made quiet, so that dropping the lower half cannot turn it into infinity).
LOWRANK_HOST_DEVICE inline uint16_t float32_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace lowrank
