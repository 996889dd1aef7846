// The two products of attention_paged.h by bfloat16 dot products (vdpbf16ps), for a bfloat16 cache: each lane adds two
// products to a float32 sum, which is twice the rate of float32 multiply-adds. Queries and softmax weights are rounded to
// bfloat16 for it (relative error up to 2^-8), as keys and values are in the cache; the softmax sums the rounded weights, so
// that they still average to one.
//
//   scores: a pair is two neighbouring dimensions of one key.
//   values: a pair is the keys 2 i and 2 i + 1 of a block. Pairs lie at absolute positions, so what a query sums does not
//           depend on its tile. Of a pair at the end of what a query sees, the other key's value is masked: it may be anything.
//
// The cache holds both as such pairs (KvLayout::kLanes), so they go from there into the products.
#pragma once

#include "cpu/simd/attention_block.h"
#include "cpu/simd/bfloat16_pairs.h"

namespace lowrank::cpu {

template <class S>
class DotProducts {
 public:
  using F = typename S::F32;
  using I = typename S::I32;
  static constexpr bool kTakesScales = false;
  static constexpr size_t kBufferFloats = 1;  // it needs none

  struct Queries {
    alignas(64) uint16_t q[kTileQueryFloats];  // [queries][stride], zero from head_dim on
  };
  struct Weights {
    alignas(64) uint16_t w[kTileQueries * kPageTokens];  // [queries][32]
  };

  static void load_query(Queries& queries, int32_t i, size_t stride, const float* from, int32_t head_dim) {
    uint16_t* const to = queries.q + static_cast<size_t>(i) * stride;
    for_each_vector<S>(from, head_dim, stride, [&](size_t d, F x) { S::store_bfloat16(to + d, x); });
  }
  static LOWRANK_INLINE void store_weights(Weights& weights, float*, int32_t i, F& low, F& high) {
    uint16_t* const to = weights.w + i * kPageTokens;
    low = S::store_bfloat16(to, low);
    high = S::store_bfloat16(to + S::kLanes, high);
  }

  static void score(const Queries& q, size_t stride, const KvBlock& block, const BlocksAhead& ahead, int32_t head_dim,
                    int32_t queries, float*, float* scores) {
    score_any<S::kScoreQueries, true>({q.q, stride, block.k, scores, head_dim / 2, ahead}, queries, 0);
  }

  static void add_values(const Weights& weights, const float*, const Range* visible, Range any, const KvBlock& block, const BlocksAhead& ahead,
                         int32_t head_dim, int32_t queries, float*, float* o, size_t stride) {
    const size_t row_bytes = static_cast<size_t>(head_dim) * 4;
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      const Values args = {weights.w, block.v, static_cast<size_t>(d) * 4, row_bytes, o + d, stride, visible, dims, ahead};
      if (dims == kDimensionChunk)
        sum_any<S::kValueQueries, true, true>(args, queries, 0);
      else
        sum_any<S::kValueQueries, false, true>(args, queries, 0);
    }
    // Those beside the pairs that were read.
    ahead.prefetch_values(0, static_cast<size_t>(any.begin / 2) * row_bytes);
    ahead.prefetch_values(static_cast<size_t>((any.end + 1) / 2) * row_bytes, static_cast<size_t>(kBlockPairs - (any.end + 1) / 2) * row_bytes);
  }

 private:
  static constexpr int kVectors = kDimensionChunk / 16;  // of one chunk of dimensions

  struct Scores {
    const uint16_t* q;  // [queries][stride]
    size_t stride;
    const uint8_t* keys;  // [pairs][32][2] bfloat16
    float* scores;        // [queries][32]
    int32_t pairs;
    const BlocksAhead& ahead;
  };

  template <int Queries, bool Prefetch>
  static LOWRANK_INLINE void score_tile(const Scores& args, int32_t i) {
    constexpr size_t kPairBytes = size_t{kPageTokens} * 4;
    const uint16_t* q = args.q + static_cast<size_t>(i) * args.stride;
    float* scores = args.scores + static_cast<size_t>(i) * kPageTokens;
    F low[Queries], high[Queries];
#pragma GCC unroll 16
    for (int r = 0; r < Queries; ++r) low[r] = high[r] = S::zero();
    for (int32_t p = 0; p < args.pairs; ++p) {
      const size_t at = static_cast<size_t>(p) * kPairBytes;
      if constexpr (Prefetch) args.ahead.prefetch_keys(at, kPairBytes);
      const I keys_low = S::int_load(args.keys + at);
      const I keys_high = S::int_load(args.keys + at + kPairBytes / 2);
#pragma GCC unroll 16
      for (int r = 0; r < Queries; ++r) {
        const I query = broadcast_pair<S>(q + static_cast<size_t>(r) * args.stride + 2 * p);
        low[r] = S::dot_bfloat16(low[r], keys_low, query);
        high[r] = S::dot_bfloat16(high[r], keys_high, query);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Queries; ++r) {
      S::store(scores + r * kPageTokens, low[r]);
      S::store(scores + r * kPageTokens + S::kLanes, high[r]);
    }
  }

  // Queries [i, end). Prefetch: with the first tile, the blocks ahead are prefetched.
  template <int Queries, bool Prefetch>
  static void score_any(const Scores& args, int32_t end, int32_t i) {
    if (end - i >= Queries) {
      score_tile<Queries, Prefetch>(args, i);
      for (i += Queries; end - i >= Queries; i += Queries) score_tile<Queries, false>(args, i);
      if constexpr (Queries > 1)
        if (i < end) score_any<Queries - 1, false>(args, end, i);
    } else if constexpr (Queries > 1) {
      score_any<Queries - 1, Prefetch>(args, end, i);
    }
  }

  struct Values {
    const uint16_t* weights;  // [queries][32]
    const uint8_t* values;    // [pairs][row_bytes]: [head_dim][2] bfloat16
    size_t first_byte;        // of the chunk in a row
    size_t row_bytes;
    float* o;  // [queries][stride], from the chunk's first dimension on
    size_t stride;
    const Range* visible;  // [queries] keys of the block
    int32_t dims;          // of the chunk
    const BlocksAhead& ahead;
  };

  // Zeros in place of the key of the pair that lies outside `seen`.
  static LOWRANK_INLINE I masked_pair(I values, int32_t pair, Range seen) {
    uint32_t mask = 0xffffffffu;
    if (2 * pair < seen.begin || 2 * pair >= seen.end) mask &= 0xffff0000u;
    if (2 * pair + 1 < seen.begin || 2 * pair + 1 >= seen.end) mask &= 0x0000ffffu;
    return S::int_and(values, S::int_set1(static_cast<int32_t>(mask)));
  }

  // Whole: all 64 dimensions are there.
  template <bool Whole>
  static LOWRANK_INLINE I load_dimensions(const Values& args, const uint8_t* from, int v) {
    if constexpr (Whole) return S::int_load(from + v * 64);
    const int32_t left = args.dims - v * S::kLanes;
    return left <= 0 ? S::int_zero() : S::int_load_first(from + v * 64, left < S::kLanes ? left : S::kLanes);
  }

  // o[i + r, :] += the pairs in [begin, end); of one query alone, `seen` masks their keys.
  template <int Queries, bool Whole, bool Masked, bool Prefetch>
  static LOWRANK_INLINE void sum_tile(const Values& args, int32_t i, int32_t begin, int32_t end, Range seen) {
    const uint16_t* weights = args.weights + static_cast<size_t>(i) * kPageTokens;
    float* o = args.o + static_cast<size_t>(i) * args.stride;
    F sum[Queries][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = S::load(o + static_cast<size_t>(r) * args.stride + v * S::kLanes);
    for (int32_t pair = begin; pair < end; ++pair) {
      const size_t at = static_cast<size_t>(pair) * args.row_bytes + args.first_byte;
      if constexpr (Prefetch) args.ahead.prefetch_values(at, Whole ? size_t{kDimensionChunk} * 4 : static_cast<size_t>(args.dims) * 4);
      I values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        values[v] = load_dimensions<Whole>(args, args.values + at, v);
        if constexpr (Masked) values[v] = masked_pair(values[v], pair, seen);
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const I weight = broadcast_pair<S>(weights + r * kPageTokens + 2 * pair);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = S::dot_bfloat16(sum[r][v], values[v], weight);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) S::store(o + static_cast<size_t>(r) * args.stride + v * S::kLanes, sum[r][v]);
  }

  // Pairs that all queries see whole are taken together; those before and behind, query by query.
  template <int Queries, bool Whole, bool Prefetch>
  static LOWRANK_INLINE void sum_group(const Values& args, int32_t i) {
    int32_t begin = 0, end = kBlockPairs;
    for (int r = 0; r < Queries; ++r) {
      const Range& own = args.visible[i + r];
      begin = (own.begin + 1) / 2 > begin ? (own.begin + 1) / 2 : begin;
      end = own.end / 2 < end ? own.end / 2 : end;
    }
    if (end < begin) end = begin;
    for (int r = 0; r < Queries; ++r) {
      const Range& own = args.visible[i + r];
      const int32_t own_end = (own.end + 1) / 2 < begin ? (own.end + 1) / 2 : begin;
      if (own.begin < own.end && own.begin / 2 < own_end)
        sum_tile<1, Whole, true, false>(args, i + r, own.begin / 2, own_end, own);
    }
    if (begin < end) sum_tile<Queries, Whole, false, Prefetch>(args, i, begin, end, {});
    for (int r = 0; r < Queries; ++r) {
      const Range& own = args.visible[i + r];
      const int32_t own_begin = own.begin / 2 > end ? own.begin / 2 : end;
      if (own.begin < own.end && own_begin < (own.end + 1) / 2)
        sum_tile<1, Whole, true, false>(args, i + r, own_begin, (own.end + 1) / 2, own);
    }
  }

  template <int Queries, bool Whole, bool Prefetch>
  static void sum_any(const Values& args, int32_t end, int32_t i) {
    if (end - i >= Queries) {
      sum_group<Queries, Whole, Prefetch>(args, i);
      for (i += Queries; end - i >= Queries; i += Queries) sum_group<Queries, Whole, false>(args, i);
      if constexpr (Queries > 1)
        if (i < end) sum_any<Queries - 1, Whole, false>(args, end, i);
    } else if constexpr (Queries > 1) {
      sum_any<Queries - 1, Whole, Prefetch>(args, end, i);
    }
  }
};

}  // namespace lowrank::cpu
