// The 16-lane vectors that the kernels of cpu/simd/ are written in, as two 256-bit registers each: the lanes,
// the order of every sum and the rounding are those of the other instruction sets.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/simd/force_inline.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {

struct Avx2 {
  struct F32 {
    __m256 low, high;  // lanes 0 to 7, 8 to 15
  };
  struct I32 {
    __m256i low, high;
  };
  static constexpr int kLanes = 16;
  static constexpr bool kBFloat16Attention = avx2::kTraits.bfloat16_attention;
  static constexpr bool kBFloat16LowRank = avx2::kTraits.bfloat16_low_rank;
  static constexpr bool kByteAttention = avx2::kTraits.byte_attention;

  // How many values the loops of cpu/simd/ keep in the 16 registers at once.
  static constexpr int kDotRows = 6;  // for those that add dot_bytes
  static constexpr int kDotTiles = 1;
  static constexpr int kMatmulRows = 6;
  static constexpr int kMatmulTiles = 1;
  static constexpr int kExpandRows = 4;
  static constexpr int kShrinkRows = 2;
  static constexpr int kShrinkRanks = 2;
  static constexpr int kScoreQueries = 6;
  static constexpr int kScoreVectors = 1;
  static constexpr int kValueQueries = 6;
  static constexpr int kValueVectors = 1;

  static LOWRANK_INLINE F32 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static LOWRANK_INLINE F32 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static LOWRANK_INLINE F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static LOWRANK_INLINE void store(float* p, F32 x) {
    _mm256_storeu_ps(p, x.low);
    _mm256_storeu_ps(p + 8, x.high);
  }
  // The first `count` lanes (0 to 16), the others zero; memory behind them is not touched.
  static LOWRANK_INLINE F32 load_first(const float* p, int count) {
    if (count == kLanes) return load(p);
    const I32 mask = first_mask(count);
    return {_mm256_maskload_ps(p, mask.low), _mm256_maskload_ps(p + 8, mask.high)};
  }
  static LOWRANK_INLINE void store_first(float* p, F32 x, int count) {
    if (count == kLanes) return store(p, x);
    const I32 mask = first_mask(count);
    _mm256_maskstore_ps(p, mask.low, x.low);
    _mm256_maskstore_ps(p + 8, mask.high, x.high);
  }

  static LOWRANK_INLINE F32 add(F32 a, F32 b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static LOWRANK_INLINE F32 sub(F32 a, F32 b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  static LOWRANK_INLINE F32 mul(F32 a, F32 b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static LOWRANK_INLINE F32 div(F32 a, F32 b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
  }
  static LOWRANK_INLINE F32 fma(F32 a, F32 b, F32 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static LOWRANK_INLINE F32 neg_fma(F32 a, F32 b, F32 c) {  // c - a b
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
  }
  static LOWRANK_INLINE float sqrt_scalar(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
  // Where either is NaN, the second.
  static LOWRANK_INLINE F32 max(F32 a, F32 b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }
  static LOWRANK_INLINE F32 min(F32 a, F32 b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
  }
  // Lanes [begin, end) of x, and `other` elsewhere.
  static LOWRANK_INLINE F32 keep_range(F32 x, int begin, int end, F32 other) {
    const I32 below_end = first_mask(end);
    const I32 below_begin = first_mask(begin);
    const __m256 low = _mm256_castsi256_ps(_mm256_andnot_si256(below_begin.low, below_end.low));
    const __m256 high = _mm256_castsi256_ps(_mm256_andnot_si256(below_begin.high, below_end.high));
    return {_mm256_blendv_ps(other.low, x.low, low), _mm256_blendv_ps(other.high, x.high, high)};
  }

  // Lane i gets lane i ^ Stride.
  template <int Stride>
  static LOWRANK_INLINE F32 exchange(F32 x) {
    if constexpr (Stride == 1) return {_mm256_permute_ps(x.low, 0xb1), _mm256_permute_ps(x.high, 0xb1)};
    if constexpr (Stride == 2) return {_mm256_permute_ps(x.low, 0x4e), _mm256_permute_ps(x.high, 0x4e)};
    if constexpr (Stride == 4)
      return {_mm256_permute2f128_ps(x.low, x.low, 0x01), _mm256_permute2f128_ps(x.high, x.high, 0x01)};
    if constexpr (Stride == 8) return {x.high, x.low};
  }

  static LOWRANK_INLINE I32 int_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static LOWRANK_INLINE I32 int_set1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static LOWRANK_INLINE I32 int_load(const void* p) {
    const auto* halves = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  // The first `count` lanes (0 to 16), the others zero.
  static LOWRANK_INLINE I32 int_load_first(const void* p, int count) {
    const I32 mask = first_mask(count);
    const auto* lanes = static_cast<const int*>(p);
    return {_mm256_maskload_epi32(lanes, mask.low), _mm256_maskload_epi32(lanes + 8, mask.high)};
  }
  static LOWRANK_INLINE I32 int_add(I32 a, I32 b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  static LOWRANK_INLINE I32 int_max(I32 a, I32 b) {
    return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)};
  }
  static LOWRANK_INLINE I32 int_and(I32 a, I32 b) {
    return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
  }
  static LOWRANK_INLINE I32 int_xor(I32 a, I32 b) {
    return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
  }
  template <int Bits>
  static LOWRANK_INLINE I32 int_shift_left(I32 a) {
    return {_mm256_slli_epi32(a.low, Bits), _mm256_slli_epi32(a.high, Bits)};
  }
  template <int Bits>
  static LOWRANK_INLINE I32 int_shift_right(I32 a) {  // keeps the sign
    return {_mm256_srai_epi32(a.low, Bits), _mm256_srai_epi32(a.high, Bits)};
  }
  static LOWRANK_INLINE I32 bits(F32 a) { return {_mm256_castps_si256(a.low), _mm256_castps_si256(a.high)}; }
  static LOWRANK_INLINE F32 from_bits(I32 a) {
    return {_mm256_castsi256_ps(a.low), _mm256_castsi256_ps(a.high)};
  }
  static LOWRANK_INLINE F32 to_float(I32 a) {
    return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
  }
  static LOWRANK_INLINE I32 round_even(F32 a) {
    return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)};
  }

  static LOWRANK_INLINE F32 load_bfloat16(const uint16_t* p) {
    const auto* halves = reinterpret_cast<const __m128i*>(p);
    return int_shift_left_16(
        {_mm256_cvtepu16_epi32(_mm_loadu_si128(halves)), _mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1))});
  }
  static LOWRANK_INLINE F32 load_int8(const int8_t* p) {
    return to_float({_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
                     _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))});
  }
  static LOWRANK_INLINE F32 load_bfloat16_first(const uint16_t* p, int count) {
    uint16_t lanes[kLanes] = {};
    for (int i = 0; i < count; ++i) lanes[i] = p[i];
    return load_bfloat16(lanes);
  }
  // The first `count` lanes as float32_to_bfloat16 rounds them, NaN included.
  static LOWRANK_INLINE void store_bfloat16_first(uint16_t* p, F32 x, int count) {
    const __m256i packed = _mm256_packus_epi32(round_bfloat16(x.low), round_bfloat16(x.high));
    const __m256i ordered = _mm256_permute4x64_epi64(packed, 0xd8);
    if (count == kLanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ordered);
      return;
    }
    uint16_t lanes[kLanes];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), ordered);
    for (int i = 0; i < count; ++i) p[i] = lanes[i];
  }
  // The same as every second half: p[2 i].
  static LOWRANK_INLINE void store_bfloat16_second(uint16_t* p, F32 x, int count) {
    uint16_t lanes[kLanes];
    store_bfloat16_first(lanes, x, kLanes);
    for (int i = 0; i < count; ++i) p[2 * i] = lanes[i];
  }
  // The lanes, each within int8, as 16 bytes.
  static LOWRANK_INLINE void store_int8(int8_t* p, I32 x) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  }

  // 32 numbers of 8 bits in bfloat16, which holds them exactly: the upper halves of their floats.
  static LOWRANK_INLINE void widen_int8(const int8_t* p, uint16_t* out) {
    for (int i = 0; i < 32; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
      const auto upper = [](__m128i eight) {
        return _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight))), 16);
      };
      const __m256i packed = _mm256_packus_epi32(upper(bytes), upper(_mm_srli_si128(bytes, 8)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_permute4x64_epi64(packed, 0xd8));
    }
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
  static LOWRANK_INLINE float first(F32 x) { return _mm256_cvtss_f32(x.low); }
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
  static LOWRANK_INLINE int32_t int_reduce_add(I32 x) {
    const __m256i eight = _mm256_add_epi32(x.low, x.high);
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
  }
  static LOWRANK_INLINE int32_t int_reduce_max(I32 x) {
    const __m256i eight = _mm256_max_epi32(x.low, x.high);
    const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
  }

 private:
  // All ones in the first `count` lanes.
  static LOWRANK_INLINE I32 first_mask(int count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return {_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes),
            _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lanes)};
  }
  static LOWRANK_INLINE F32 int_shift_left_16(I32 x) { return from_bits(int_shift_left<16>(x)); }
  static LOWRANK_INLINE __m256i round_bfloat16(__m256 x) {
    const __m256i raw = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(raw, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(raw, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(raw, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  }
  static LOWRANK_INLINE __m128 fold_max(F32 x) {
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    return _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
  static LOWRANK_INLINE __m128 fold(F32 x) {
    const __m256 eight = _mm256_add_ps(x.low, x.high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  }
};

}  // namespace lowrank::cpu
