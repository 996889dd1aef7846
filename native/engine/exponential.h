// e^x of what is never above 0, with the same bits on every processor and without a branch, so that a loop of it becomes vectors:
// the weights of tokens.
#pragma once

#include <bit>
#include <cstdint>

namespace lowrank {

// 0 below -87. 2^n e^r with r in [-ln 2 / 2, ln 2 / 2], ln 2 subtracted in two parts (Cody and Waite, Software Manual for the
// Elementary Functions, 1980), e^r by the polynomial of cpu/simd/exponential.h, nothing fused: within 2 ulp.
inline float exp_of_negative(float x) {
  constexpr float kLog2E = 0x1.715476p+0f;
  constexpr float kLn2High = 0.693359375f;     // 9 bits: exact times n
  constexpr float kLn2Low = -2.12194440e-4f;   // ln 2 - kLn2High
  constexpr float kRound = 0x1.8p23f;          // added, it leaves the nearest integer in the low bits
  const float in = x > -87.0f ? x : -87.0f;    // also of NaN
  const float shifted = in * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (in - n * kLn2High) - n * kLn2Low;
  float p = 0x1.6a2434p-10f * r + 0x1.1239e2p-7f;
  p = p * r + 0x1.5558f2p-5f;
  p = p * r + 0x1.555492p-3f;
  p = p * r + 0x1.fffffcp-2f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t keep = 0u - static_cast<uint32_t>(x > -87.0f);  // all bits or none: a choice that needs no branch
  return std::bit_cast<float>((std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23)) & keep);
}

// The same in float64, 0 below -708: ln 2 in the two parts of fdlibm's e_exp.c, e^r by its Taylor polynomial of degree 13, whose
// rest is below 2^-57. Within 2 ulp.
inline double exp_of_negative(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42feep-1;  // 32 bits: exact times n
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  constexpr double kRound = 0x1.8p52;
  const double in = x > -708.0 ? x : -708.0;
  const double shifted = in * kLog2E + kRound;
  const double n = shifted - kRound;
  const double r = (in - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 6227020800.0 * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t keep = uint64_t{0} - static_cast<uint64_t>(x > -708.0);
  return std::bit_cast<double>((std::bit_cast<uint64_t>(p) + (std::bit_cast<uint64_t>(shifted) << 52)) & keep);
}

}  // namespace lowrank
