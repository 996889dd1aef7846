// float32 as three bfloat16 of 8 significant bits each, for products on bfloat16 tensor cores to float32's precision:
//   v = high + middle + low, exactly (but below 2^-110, where the low part may be subnormal).
// A product with a bfloat16 is then exact for each part. The parts are multiplied from low to high into one sum, so that what the
// tensor core's own additions drop is measured by small sums.
#pragma once

#include <cstdint>

#include "cuda/cuda.h"

namespace lowrank::cuda {

// Tensor-core products for one of float32 with bfloat16.
inline constexpr int32_t kSplitParts = 3;

// The upper halves of two words, the first one's low: two float32 truncated to bfloat16.
LOWRANK_DEVICE uint32_t upper_halves(uint32_t first, uint32_t second) { return (first >> 16) | (second & 0xffff0000u); }

// Leaves in `value` what its upper half does not hold; exact. Infinity leaves NaN.
LOWRANK_DEVICE uint32_t take_upper_half(float& value) {
  const uint32_t bits = __float_as_uint(value);
  value -= __uint_as_float(bits & 0xffff0000u);
  return bits;
}

// Two neighbours, the first one's parts low.
struct SplitPair {
  uint32_t high;
  uint32_t middle;
  uint32_t low;
};
LOWRANK_DEVICE SplitPair split_pair(float first, float second) {
  SplitPair pair;
  uint32_t bits = take_upper_half(first);
  pair.high = upper_halves(bits, take_upper_half(second));
  bits = take_upper_half(first);
  pair.middle = upper_halves(bits, take_upper_half(second));
  pair.low = upper_halves(__float_as_uint(first), __float_as_uint(second));
  return pair;
}

// Two int8 in the lower half of `bits`, each exact as a bfloat16.
LOWRANK_DEVICE uint32_t bfloat16_pair_of_int8(uint32_t bits) {
  const auto first = static_cast<float>(static_cast<int8_t>(bits & 0xffu));
  const auto second = static_cast<float>(static_cast<int8_t>(bits >> 8 & 0xffu));
  return upper_halves(__float_as_uint(first), __float_as_uint(second));
}

}  // namespace lowrank::cuda
