// e^x for 16 lanes, and the activations made of it.
//
// e^x = 2^n e^r with n = round(x log2 e) and r = x - n ln 2 in [-ln 2 / 2, ln 2 / 2]; ln 2 is subtracted in
// two parts (Cody and Waite, Software Manual for the Elementary Functions, 1980). e^r is 1 + r + r^2 q(r),
// with q the polynomial of degree 4 that minimises the largest relative error over the interval (found with
// Remez's exchange): 3.1e-9 before rounding. With fused multiply-adds the result is within 1 ulp. x is first
// clamped to [-87, 88], so that 2^n is a normal number: below, the result is 1.6e-38 and not 0; above, 1.7e38
// and not infinity. NaN stays NaN.
#pragma once

#include "cpu/simd/force_inline.h"

namespace lowrank::cpu {

template <class S>
LOWRANK_INLINE typename S::F32 exponential(typename S::F32 x) {
  using F = typename S::F32;
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0x1.62e43p-1f;   // ln 2 rounded to float: n times it is exact when fused
  constexpr float kLn2Low = -1.9046542e-09f;  // ln 2 - kLn2High
  x = S::max(S::set1(-87.0f), x);
  x = S::min(S::set1(88.0f), x);
  const auto n = S::round_even(S::mul(x, S::set1(kLog2E)));
  const F n_float = S::to_float(n);
  const F r = S::neg_fma(n_float, S::set1(kLn2Low), S::neg_fma(n_float, S::set1(kLn2High), x));
  F p = S::fma(S::set1(0x1.6a2434p-10f), r, S::set1(0x1.1239e2p-7f));
  p = S::fma(p, r, S::set1(0x1.5558f2p-5f));
  p = S::fma(p, r, S::set1(0x1.555492p-3f));
  p = S::fma(p, r, S::set1(0x1.fffffcp-2f));
  p = S::fma(p, r, S::set1(1.0f));
  p = S::fma(p, r, S::set1(1.0f));
  return S::from_bits(S::int_add(S::template int_shift_left<23>(n), S::bits(p)));
}

// 2^x for x <= 0, for softmax weights: 2^n 2^f with n = round(x) and f = x - n, which is exact, and 2^f = 1 + f q(f), with q the
// polynomial of degree 4 of least relative error over [-1/2, 1/2]: 1.6e-7 with rounded coefficients. x is first clamped
// to -126 from below, where the result is 1.2e-38 and not 0. 2^0 is 1; NaN stays NaN.
template <class S>
LOWRANK_INLINE typename S::F32 power_of_two(typename S::F32 x) {
  using F = typename S::F32;
  x = S::max(S::set1(-126.0f), x);
  const auto n = S::round_even(x);
  const F f = S::sub(x, S::to_float(n));
  F p = S::fma(S::set1(0x1.5bba14p-10f), f, S::set1(0x1.3cea88p-7f));
  p = S::fma(p, f, S::set1(0x1.c6b752p-5f));
  p = S::fma(p, f, S::set1(0x1.ebf9bcp-3f));
  p = S::fma(p, f, S::set1(0x1.62e42ap-1f));
  p = S::fma(p, f, S::set1(1.0f));
  return S::from_bits(S::int_add(S::template int_shift_left<23>(n), S::bits(p)));
}

// x / (1 + e^-x)
template <class S>
LOWRANK_INLINE typename S::F32 silu(typename S::F32 x) {
  return S::div(x, S::add(S::set1(1.0f), exponential<S>(S::sub(S::zero(), x))));
}

// 0.5 x (1 + tanh z) = x / (1 + e^-2z), z = sqrt(2 / pi) (x + 0.044715 x^3)
template <class S>
LOWRANK_INLINE typename S::F32 gelu_tanh(typename S::F32 x) {
  constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
  const auto cubic = S::fma(S::mul(S::mul(x, x), x), S::set1(0.044715f), x);
  return S::div(x, S::add(S::set1(1.0f), exponential<S>(S::mul(S::set1(kMinusTwoSqrt2OverPi), cubic))));
}

// cap tanh(x), tanh(x) = 1 - 2 / (1 + e^2x): within 1e-6 of cap.
template <class S>
LOWRANK_INLINE typename S::F32 capped_tanh(typename S::F32 x, typename S::F32 cap) {
  const auto denominator = S::add(S::set1(1.0f), exponential<S>(S::add(x, x)));
  return S::sub(cap, S::div(S::add(cap, cap), denominator));
}

}  // namespace lowrank::cpu
