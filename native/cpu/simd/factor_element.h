// Elements of a low-rank factor, in the format that it is held in (bfloat16 as uint16_t), as the float32 that they stand for:
// exactly, for every format.
#pragma once

#include <cstdint>

#include "cpu/simd/force_inline.h"

namespace lowrank::cpu {

template <class S>
LOWRANK_INLINE typename S::F32 load_elements(const float* p) {
  return S::load(p);
}
template <class S>
LOWRANK_INLINE typename S::F32 load_elements(const uint16_t* p) {
  return S::load_bfloat16(p);
}
template <class S>
LOWRANK_INLINE typename S::F32 load_elements(const int8_t* p) {
  return S::load_int8(p);
}

static LOWRANK_INLINE float widen_element(float value) { return value; }
static LOWRANK_INLINE float widen_element(uint16_t bfloat16) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bfloat16) << 16);
}
static LOWRANK_INLINE float widen_element(int8_t value) { return static_cast<float>(value); }

}  // namespace lowrank::cpu
