// Pairs of bfloat16 in one dword, as KvLayout::kLanes, B of the low-rank factors and bfloat16 products have them.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/simd/force_inline.h"

namespace lowrank::cpu {

// The first and the second of each pair, in float32.
template <class S>
LOWRANK_INLINE typename S::F32 first_of_pairs(typename S::I32 pairs) {
  return S::from_bits(S::template int_shift_left<16>(pairs));
}
template <class S>
LOWRANK_INLINE typename S::F32 second_of_pairs(typename S::I32 pairs) {
  return S::from_bits(S::int_and(pairs, S::int_set1(static_cast<int32_t>(0xffff0000u))));
}

// The pair at p in every lane.
template <class S>
LOWRANK_INLINE typename S::I32 broadcast_pair(const uint16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return S::int_set1(pair);
}

}  // namespace lowrank::cpu
