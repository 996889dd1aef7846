// The 16-lane vectors that the kernels of cpu/simd/ are written in, as one 512-bit register each.
// Every operation is one instruction or a fixed sequence, so that a sum's order never depends on where it is
// made.
#pragma once

// g++ 12 takes the deliberately undefined operand inside many AVX-512 intrinsics for a mistake of the
// caller's.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>

#include "cpu/simd/force_inline.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {

struct Avx512Vnni {
  struct F32 {
    __m512 v;
  };
  struct I32 {
    __m512i v;
  };
  static constexpr int kLanes = 16;
  static constexpr bool kBFloat16Attention = avx512_vnni::kTraits.bfloat16_attention;  // by dot_bfloat16
  static constexpr bool kBFloat16LowRank = avx512_vnni::kTraits.bfloat16_low_rank;     // by dot_bfloat16
  static constexpr bool kByteAttention = avx512_vnni::kTraits.byte_attention;          // by dot_bytes and store_low_bytes

  // How many values the loops of cpu/simd/ keep in the 32 registers at once.
  static constexpr int kDotRows = 6;      // rows of an int8 product's tile …
  static constexpr int kDotTiles = 2;     // … times columns / 16
  static constexpr int kMatmulRows = 8;   // rows of a float product's tile …
  static constexpr int kMatmulTiles = 3;  // … times columns / 16
  static constexpr int kExpandRows = 6;   // rows that share a vector of B in the LoRA expand
  static constexpr int kShrinkRows = 4;   // rows times ranks of the LoRA shrink
  static constexpr int kShrinkRanks = 4;
  static constexpr int kScoreQueries = 12;  // queries times …
  static constexpr int kScoreVectors = 2;   // … keys / 16 of the attention's scores
  static constexpr int kValueQueries = 6;   // queries times …
  static constexpr int kValueVectors = 4;   // … dimensions / 16 of the attention's sums of values

  static LOWRANK_INLINE F32 zero() { return {_mm512_setzero_ps()}; }
  static LOWRANK_INLINE F32 set1(float x) { return {_mm512_set1_ps(x)}; }
  static LOWRANK_INLINE F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static LOWRANK_INLINE void store(float* p, F32 x) { _mm512_storeu_ps(p, x.v); }
  // The first `count` lanes (0 to 16), the others zero; memory behind them is not touched.
  static LOWRANK_INLINE F32 load_first(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(first_mask(count), p)};
  }
  static LOWRANK_INLINE void store_first(float* p, F32 x, int count) {
    _mm512_mask_storeu_ps(p, first_mask(count), x.v);
  }

  static LOWRANK_INLINE F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
  static LOWRANK_INLINE F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static LOWRANK_INLINE F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static LOWRANK_INLINE F32 div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static LOWRANK_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static LOWRANK_INLINE F32 neg_fma(F32 a, F32 b, F32 c) {  // c - a b
    return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
  }
  static LOWRANK_INLINE float sqrt_scalar(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  // Where either is NaN, the second.
  static LOWRANK_INLINE F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static LOWRANK_INLINE F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
  // Lanes [begin, end) of x, and `other` elsewhere.
  static LOWRANK_INLINE F32 keep_range(F32 x, int begin, int end, F32 other) {
    const auto mask = static_cast<__mmask16>(first_mask(end) & ~first_mask(begin));
    return {_mm512_mask_blend_ps(mask, other.v, x.v)};
  }

  // Lane i gets lane i ^ Stride.
  template <int Stride>
  static LOWRANK_INLINE F32 exchange(F32 x) {
    if constexpr (Stride == 1) return {_mm512_permute_ps(x.v, 0xb1)};
    if constexpr (Stride == 2) return {_mm512_permute_ps(x.v, 0x4e)};
    if constexpr (Stride == 4) return {_mm512_shuffle_f32x4(x.v, x.v, 0xb1)};
    if constexpr (Stride == 8) return {_mm512_shuffle_f32x4(x.v, x.v, 0x4e)};
  }

  static LOWRANK_INLINE I32 int_zero() { return {_mm512_setzero_si512()}; }
  static LOWRANK_INLINE I32 int_set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static LOWRANK_INLINE I32 int_load(const void* p) { return {_mm512_loadu_si512(p)}; }
  // The first `count` lanes (0 to 16), the others zero.
  static LOWRANK_INLINE I32 int_load_first(const void* p, int count) {
    return {_mm512_maskz_loadu_epi32(first_mask(count), p)};
  }
  static LOWRANK_INLINE I32 int_add(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
  static LOWRANK_INLINE I32 int_sub(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  static LOWRANK_INLINE I32 int_max(I32 a, I32 b) { return {_mm512_max_epi32(a.v, b.v)}; }
  static LOWRANK_INLINE I32 int_and(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
  static LOWRANK_INLINE I32 int_xor(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
  template <int Bits>
  static LOWRANK_INLINE I32 int_shift_left(I32 a) {
    return {_mm512_slli_epi32(a.v, Bits)};
  }
  template <int Bits>
  static LOWRANK_INLINE I32 int_shift_right(I32 a) {  // keeps the sign
    return {_mm512_srai_epi32(a.v, Bits)};
  }
  static LOWRANK_INLINE I32 bits(F32 a) { return {_mm512_castps_si512(a.v)}; }
  static LOWRANK_INLINE F32 from_bits(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
  static LOWRANK_INLINE F32 to_float(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
  static LOWRANK_INLINE I32 round_even(F32 a) {
    return {_mm512_cvt_roundps_epi32(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }

  // Each lane: acc + the sum of four products of an unsigned byte of `weights` and a signed one of `activations`. g++ 12 turns
  // the intrinsic in a loop into copies of the accumulators, at less than half the speed.
  static LOWRANK_INLINE void dot_bytes(I32& acc, I32 weights, I32 activations) {
#if defined(__GNUC__)
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(weights.v), "v"(activations.v));
#else
    acc.v = _mm512_dpbusd_epi32(acc.v, weights.v, activations.v);
#endif
  }
  // Each lane: acc + a0 b0 + a1 b1, of the two bfloat16 halves of the dwords.
  static LOWRANK_INLINE F32 dot_bfloat16(F32 acc, I32 a, I32 b) {
    return {_mm512_dpbf16_ps(acc.v, reinterpret_cast<__m512bh&>(a.v), reinterpret_cast<__m512bh&>(b.v))};
  }
  // Rounded to the nearest, ties to even; denormal numbers to zero. Returns what was stored.
  static LOWRANK_INLINE F32 store_bfloat16(uint16_t* p, F32 x) {
    const __m256bh rounded = _mm512_cvtneps_pbh(x.v);
    const __m256i halves = reinterpret_cast<const __m256i&>(rounded);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
    return widen_bfloat16(halves);
  }
  static LOWRANK_INLINE F32 load_bfloat16(const uint16_t* p) {
    return widen_bfloat16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static LOWRANK_INLINE F32 load_int8(const int8_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }
  static LOWRANK_INLINE F32 load_bfloat16_first(const uint16_t* p, int count) {
    return widen_bfloat16(_mm256_maskz_loadu_epi16(first_mask(count), p));
  }
  // The first `count` lanes as float32_to_bfloat16 rounds them, NaN included.
  static LOWRANK_INLINE void store_bfloat16_first(uint16_t* p, F32 x, int count) {
    _mm256_mask_storeu_epi16(p, first_mask(count), _mm512_cvtepi32_epi16(round_bfloat16(x.v)));
  }
  // The same as every second half: p[2 i].
  static LOWRANK_INLINE void store_bfloat16_second(uint16_t* p, F32 x, int count) {
    const auto even = static_cast<__mmask32>(((uint64_t{1} << (2 * count)) - 1) & 0x55555555u);
    _mm512_mask_storeu_epi16(p, even, round_bfloat16(x.v));
  }
  // The lanes, each within int8, as 16 bytes.
  static LOWRANK_INLINE void store_int8(int8_t* p, I32 x) { store_low_bytes(reinterpret_cast<uint8_t*>(p), x); }
  // Of lanes that may be larger.
  static LOWRANK_INLINE void store_low_bytes(uint8_t* p, I32 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
  }

  // 32 numbers of 8 bits in bfloat16, which holds them exactly: the upper halves of their floats.
  static LOWRANK_INLINE void widen_int8(const int8_t* p, uint16_t* out) {
    alignas(64) static constexpr auto kUpper = [] {
      struct Order {
        uint16_t half[32];
      } order{};
      for (uint16_t i = 0; i < 32; ++i) order.half[i] = static_cast<uint16_t>(2 * i + 1);
      return order;
    }();
    const auto floats = [](const int8_t* from) {
      return _mm512_castps_si512(
          _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))));
    };
    _mm512_storeu_si512(out, _mm512_permutex2var_epi16(floats(p), _mm512_load_si512(kUpper.half), floats(p + 16)));
  }

  // ((l0 + l8) + (l4 + l12)) + … : halves are added to halves, down to one lane.
  static LOWRANK_INLINE float reduce_add(F32 x) {
    const __m128 four = fold(x);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  // Four such sums at once, each bit-equal to reduce_add.
  static LOWRANK_INLINE void reduce_add4(F32 a, F32 b, F32 c, F32 d, float* out) {
    const __m128 fa = fold(a), fb = fold(b), fc = fold(c), fd = fold(d);
    const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(fa, fb), _mm_unpackhi_ps(fa, fb));
    const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(fc, fd), _mm_unpackhi_ps(fc, fd));
    _mm_storeu_ps(out, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
  }
  static LOWRANK_INLINE float first(F32 x) { return _mm512_cvtss_f32(x.v); }
  static LOWRANK_INLINE float reduce_max(F32 x) {
    const __m128 four = fold_max(x);
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static LOWRANK_INLINE void reduce_max4(F32 a, F32 b, F32 c, F32 d, float* out) {
    const __m128 fa = fold_max(a), fb = fold_max(b), fc = fold_max(c), fd = fold_max(d);
    const __m128 ab = _mm_max_ps(_mm_unpacklo_ps(fa, fb), _mm_unpackhi_ps(fa, fb));
    const __m128 cd = _mm_max_ps(_mm_unpacklo_ps(fc, fd), _mm_unpackhi_ps(fc, fd));
    _mm_storeu_ps(out, _mm_max_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
  }
  static LOWRANK_INLINE int32_t int_reduce_add(I32 x) { return _mm512_reduce_add_epi32(x.v); }
  static LOWRANK_INLINE int32_t int_reduce_max(I32 x) { return _mm512_reduce_max_epi32(x.v); }

 private:
  static LOWRANK_INLINE __mmask16 first_mask(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
  // In the lower half of each lane.
  static LOWRANK_INLINE __m512i round_bfloat16(__m512 x) {
    const __m512i raw = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(raw, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(raw, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(raw, _mm512_set1_epi32(0x400000));
    return _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16);
  }
  static LOWRANK_INLINE F32 widen_bfloat16(__m256i x) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))};
  }
  static LOWRANK_INLINE __m128 fold_max(F32 x) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    return _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static LOWRANK_INLINE __m128 fold(F32 x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
};

}  // namespace lowrank::cpu
