// quant/rotation.h's rotate_block on 16-lane vectors, with the same sums in the same order.
#pragma once

#include "cpu/simd/force_inline.h"
#include "quant/scheme.h"

namespace lowrank::cpu {

// One stage within a vector: lane i gets a + b, or a - b where i has the stride's bit, a being the lower of the pair.
template <class S, int Stride>
LOWRANK_INLINE typename S::F32 butterfly(typename S::F32 x) {
  alignas(64) static constexpr auto kSigns = [] {
    struct Signs {
      float lane[16];
    } signs{};
    for (int i = 0; i < 16; ++i) signs.lane[i] = (i & Stride) != 0 ? -1.0f : 1.0f;
    return signs;
  }();
  // x * 1 + partner, or x * -1 + partner: one exact product, one rounding.
  return S::fma(x, S::load(kSigns.lane), S::template exchange<Stride>(x));
}

// x [64]
template <class S>
LOWRANK_INLINE void rotate_block(float* x) {
  using F = typename S::F32;
  static_assert(S::kLanes == 16 && kRotationBlock == 64);
  F v[4];
  for (int i = 0; i < 4; ++i)
    v[i] = butterfly<S, 8>(butterfly<S, 4>(butterfly<S, 2>(butterfly<S, 1>(S::load(x + 16 * i)))));
  const F a = S::add(v[0], v[1]), b = S::sub(v[0], v[1]), c = S::add(v[2], v[3]), d = S::sub(v[2], v[3]);
  const F eighth = S::set1(0.125f);
  S::store(x, S::mul(S::add(a, c), eighth));
  S::store(x + 16, S::mul(S::add(b, d), eighth));
  S::store(x + 32, S::mul(S::sub(a, c), eighth));
  S::store(x + 48, S::mul(S::sub(b, d), eighth));
}

}  // namespace lowrank::cpu
