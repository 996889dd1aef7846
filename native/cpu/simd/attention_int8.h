// The two products of attention_paged.h for an int8 cache, by products of bytes (vpdpbusd), which read it as it lies: four
// neighbouring dimensions of a key, or four neighbouring keys of a dimension, in a dword (KvLayout::kLanes).
//
//   scores: a query is Q = round(q / s), s = max |q| / 16256, in two bytes: Q = 128 u + l, u in [-127, 127], l in [-64, 63].
//           Keys are the unsigned side, as k + 128; the sums start at -128 sum u and -128 sum l. Both sums are exact, so
//           Q K^T is; it is rounded once, and once more by s.
//   values: a softmax weight times its value's scale is W = round(w / t), t = (the block's largest w) / 65535, in two unsigned
//           bytes: W = 256 u + l. The block's sums are exact again and are added to O by one multiply-add with t. A key that is
//           not seen has W = 0.
//
// A scale that is not finite leaves its integers at zero and makes the softmax's sum NaN.
#pragma once

#include <bit>
#include <cfloat>
#include <cstring>
#include <limits>

#include "cpu/simd/attention_block.h"
#include "quant/int8.h"

namespace lowrank::cpu {

template <class S>
class Int8Products {
 public:
  using F = typename S::F32;
  using I = typename S::I32;
  static constexpr bool kTakesScales = true;
  static constexpr size_t kBufferFloats = 1;  // it needs none

  struct Queries {
    alignas(64) int8_t upper[kTileQueryFloats];  // [queries][stride]
    alignas(64) int8_t lower[kTileQueryFloats];
    int32_t upper_start[kTileQueries];  // -128 times the sum
    int32_t lower_start[kTileQueries];
    float scale[kTileQueries];
  };
  struct Weights {
    alignas(64) uint8_t upper[kTileQueries * kPageTokens];  // [queries][32]
    alignas(64) uint8_t lower[kTileQueries * kPageTokens];
    float scale[kTileQueries];
  };

  static void load_query(Queries& q, int32_t i, size_t stride, const float* from, int32_t head_dim) {
    I largest = S::int_zero();
    for (int32_t d = 0; d < head_dim; d += S::kLanes)
      largest = S::int_max(largest, S::int_and(S::bits(load(from, d, head_dim)), S::int_set1(0x7fffffff)));
    const float absmax = std::bit_cast<float>(S::int_reduce_max(largest));
    const bool finite = absmax <= FLT_MAX, counts = finite && absmax >= kInt8SmallestAbsmax;
    const F inverse = S::set1(counts ? kLargestQuery / absmax : 0.0f);
    I upper_sum = S::int_zero(), lower_sum = S::int_zero();
    const size_t at = static_cast<size_t>(i) * stride;
    for (int32_t d = 0; d < head_dim; d += S::kLanes) {
      const I rounded = counts ? S::round_even(S::mul(load(from, d, head_dim), inverse)) : S::int_zero();
      const I upper = S::template int_shift_right<7>(S::int_add(rounded, S::int_set1(64)));
      const I lower = S::int_sub(rounded, S::template int_shift_left<7>(upper));
      S::store_int8(q.upper + at + d, upper);
      S::store_int8(q.lower + at + d, lower);
      upper_sum = S::int_add(upper_sum, upper);
      lower_sum = S::int_add(lower_sum, lower);
    }
    q.upper_start[i] = -128 * S::int_reduce_add(upper_sum);
    q.lower_start[i] = -128 * S::int_reduce_add(lower_sum);
    q.scale[i] = !finite ? std::numeric_limits<float>::quiet_NaN() : counts ? absmax / kLargestQuery : 0.0f;
  }

  // Stores 32 weights of query i, times their values' scales; largest: of them.
  static LOWRANK_INLINE void store_weights(Weights& weights, int32_t i, F low, F high, float largest) {
    const bool counts = largest >= kInt8SmallestAbsmax && largest <= FLT_MAX;
    const F inverse = S::set1(counts ? kLargestWeight / largest : 0.0f);
    const I first = S::round_even(S::mul(low, inverse)), second = S::round_even(S::mul(high, inverse));
    uint8_t* const upper = weights.upper + i * kPageTokens;
    uint8_t* const lower = weights.lower + i * kPageTokens;
    S::store_low_bytes(upper, S::template int_shift_right<8>(first));
    S::store_low_bytes(upper + S::kLanes, S::template int_shift_right<8>(second));
    S::store_low_bytes(lower, first);
    S::store_low_bytes(lower + S::kLanes, second);
    weights.scale[i] = counts ? largest / kLargestWeight : 0.0f;
  }

  // scores [queries][32] of all keys of the block, without the keys' scales.
  static void score(const Queries& q, size_t stride, const KvBlock& block, const BlocksAhead& ahead, int32_t head_dim,
                    int32_t queries, float*, float* scores) {
    for (int32_t j = 0; j < kPageTokens; j += 16) {
      prefetch_far(ahead.far.k_scale + j);
      prefetch_far(ahead.far.v_scale + j);
    }
    score_any<kScoreQueries, true>({q, stride, block.k, scores, head_dim / 4, ahead}, queries, 0);
  }

  // o [queries][stride] += weights times the values of the keys that each query sees; any: all of those.
  static void add_values(const Weights& weights, const float*, const Range* visible, Range any, const KvBlock& block,
                         const BlocksAhead& ahead, int32_t head_dim, int32_t queries, float*, float* o, size_t stride) {
    const size_t row_bytes = static_cast<size_t>(head_dim) * 4;
    const Range quads = {any.begin / 4, (any.end + 3) / 4};
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      const Values args = {weights, block.v + static_cast<size_t>(d) * 4, row_bytes, o + d, stride, visible, quads, dims, ahead,
                           static_cast<size_t>(d) * 4};
      if (dims == kDimensionChunk)
        sum_all<true>(args, queries);
      else
        sum_all<false>(args, queries);
    }
    // Those beside what was read.
    ahead.prefetch_values(0, static_cast<size_t>(quads.begin) * row_bytes);
    ahead.prefetch_values(static_cast<size_t>(quads.end) * row_bytes, static_cast<size_t>(kPageTokens / 4 - quads.end) * row_bytes);
  }

 private:
  static constexpr float kLargestQuery = 16256, kLargestWeight = 65535;
  static constexpr int kScoreQueries = 6, kValueQueries = 3;  // at once: four sums a query, and eight
  static constexpr int kVectors = kDimensionChunk / 16;       // of one chunk of dimensions

  static LOWRANK_INLINE F load(const float* from, int32_t d, int32_t head_dim) {
    return S::load_first(from + d, head_dim - d < S::kLanes ? head_dim - d : S::kLanes);
  }

  static LOWRANK_INLINE I broadcast_four(const void* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return S::int_set1(four);
  }

  struct Scores {
    const Queries& q;
    size_t stride;
    const uint8_t* keys;  // [quads][32][4]
    float* scores;        // [queries][32]
    int32_t quads;
    const BlocksAhead& ahead;
  };

  template <int Count, bool Prefetch>
  static LOWRANK_INLINE void score_tile(const Scores& args, int32_t i) {
    constexpr size_t kQuadBytes = size_t{kPageTokens} * 4;
    const int8_t* upper_q = args.q.upper + static_cast<size_t>(i) * args.stride;
    const int8_t* lower_q = args.q.lower + static_cast<size_t>(i) * args.stride;
    const I sign = S::int_set1(static_cast<int32_t>(0x80808080u));
    I upper[Count][2], lower[Count][2];
#pragma GCC unroll 8
    for (int r = 0; r < Count; ++r) {
      upper[r][0] = upper[r][1] = S::int_set1(args.q.upper_start[i + r]);
      lower[r][0] = lower[r][1] = S::int_set1(args.q.lower_start[i + r]);
    }
    for (int32_t p = 0; p < args.quads; ++p) {
      const size_t at = static_cast<size_t>(p) * kQuadBytes;
      if constexpr (Prefetch) args.ahead.prefetch_keys(at, kQuadBytes);
      const I keys[2] = {S::int_xor(S::int_load(args.keys + at), sign), S::int_xor(S::int_load(args.keys + at + kQuadBytes / 2), sign)};
#pragma GCC unroll 8
      for (int r = 0; r < Count; ++r) {
        const size_t from = static_cast<size_t>(r) * args.stride + static_cast<size_t>(p) * 4;
        const I upper_four = broadcast_four(upper_q + from), lower_four = broadcast_four(lower_q + from);
        S::dot_bytes(upper[r][0], keys[0], upper_four);
        S::dot_bytes(upper[r][1], keys[1], upper_four);
        S::dot_bytes(lower[r][0], keys[0], lower_four);
        S::dot_bytes(lower[r][1], keys[1], lower_four);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Count; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        const I whole = S::int_add(S::template int_shift_left<7>(upper[r][v]), lower[r][v]);
        S::store(args.scores + (i + r) * kPageTokens + v * S::kLanes, S::mul(S::to_float(whole), S::set1(args.q.scale[i + r])));
      }
  }

  // Queries [i, end). Prefetch: with the first tile, the blocks ahead are prefetched.
  template <int Count, bool Prefetch>
  static void score_any(const Scores& args, int32_t end, int32_t i) {
    if (end - i >= Count) {
      score_tile<Count, Prefetch>(args, i);
      for (i += Count; end - i >= Count; i += Count) score_tile<Count, false>(args, i);
      if constexpr (Count > 1)
        if (i < end) score_any<Count - 1, false>(args, end, i);
    } else if constexpr (Count > 1) {
      score_any<Count - 1, Prefetch>(args, end, i);
    }
  }

  struct Values {
    const Weights& weights;
    const uint8_t* values;  // [quads][row_bytes]: [head_dim][4], from the chunk's first dimension on
    size_t row_bytes;
    float* o;  // [queries][stride], likewise
    size_t stride;
    const Range* visible;  // [queries] keys of the block
    Range quads;           // that hold all visible keys
    int32_t dims;          // of the chunk
    const BlocksAhead& ahead;
    size_t first_byte;  // of the chunk in a row
  };

  // Whole: all 64 dimensions are there.
  template <bool Whole>
  static LOWRANK_INLINE I load_dimensions(const Values& args, const uint8_t* from, int v) {
    if constexpr (Whole) return S::int_load(from + v * 64);
    const int32_t left = args.dims - v * S::kLanes;
    return left <= 0 ? S::int_zero() : S::int_load_first(from + v * 64, left < S::kLanes ? left : S::kLanes);
  }

  template <int Count, bool Whole, bool Prefetch>
  static LOWRANK_INLINE void sum_tile(const Values& args, int32_t i) {
    const uint8_t* upper_w = args.weights.upper + i * kPageTokens;
    const uint8_t* lower_w = args.weights.lower + i * kPageTokens;
    I upper[Count][kVectors], lower[Count][kVectors];
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) upper[r][v] = lower[r][v] = S::int_zero();
    for (int32_t quad = args.quads.begin; quad < args.quads.end; ++quad) {
      const size_t at = static_cast<size_t>(quad) * args.row_bytes;
      if constexpr (Prefetch) args.ahead.prefetch_values(args.first_byte + at, Whole ? size_t{kDimensionChunk} * 4 : static_cast<size_t>(args.dims) * 4);
      I values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) values[v] = load_dimensions<Whole>(args, args.values + at, v);
#pragma GCC unroll 4
      for (int r = 0; r < Count; ++r) {
        const I upper_four = broadcast_four(upper_w + r * kPageTokens + 4 * quad);
        const I lower_four = broadcast_four(lower_w + r * kPageTokens + 4 * quad);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          S::dot_bytes(upper[r][v], upper_four, values[v]);
          S::dot_bytes(lower[r][v], lower_four, values[v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        float* const o = args.o + static_cast<size_t>(i + r) * args.stride + v * S::kLanes;
        const I whole = S::int_add(S::template int_shift_left<8>(upper[r][v]), lower[r][v]);
        S::store(o, S::fma(S::to_float(whole), S::set1(args.weights.scale[i + r]), S::load(o)));
      }
  }

  // Queries that see no key of the block are left out. With the first tile, the blocks ahead are prefetched.
  template <bool Whole>
  static void sum_all(const Values& args, int32_t queries) {
    bool prefetch = true;
    for (int32_t i = 0; i < queries;) {
      int32_t count = 0;
      while (count < kValueQueries && i + count < queries && args.visible[i + count].begin < args.visible[i + count].end) ++count;
      switch (count) {
        case 3: sum_first<3, Whole>(args, i, prefetch); break;
        case 2: sum_first<2, Whole>(args, i, prefetch); break;
        case 1: sum_first<1, Whole>(args, i, prefetch); break;
        default: ++i; continue;
      }
      prefetch = false;
      i += count;
    }
  }
  template <int Count, bool Whole>
  static LOWRANK_INLINE void sum_first(const Values& args, int32_t i, bool prefetch) {
    static_assert(Count <= kValueQueries);
    if (prefetch)
      sum_tile<Count, Whole, true>(args, i);
    else
      sum_tile<Count, Whole, false>(args, i);
  }
};

}  // namespace lowrank::cpu
