// The two products of attention_paged.h by bfloat16 dot products (vdpbf16ps), for a bfloat16 cache: each lane adds two
// products to a float32 sum, which is twice the rate of float32 multiply-adds. Queries and softmax weights are rounded to
// bfloat16 for it (relative error up to 2^-8), as keys and values are in the cache; the softmax sums the rounded weights, so
// that they still average to one.
//
//   scores: a pair is two neighbouring dimensions. A transposed dword of the cache is such a pair of one key.
//   values: a pair is the keys 2 i and 2 i + 1 of a block, whose rows are interleaved. Pairs lie at absolute positions, so
//           what a query sums does not depend on its tile. Of a pair at the end of what a query sees, the other key's value
//           is masked: it may be anything.
#pragma once

#include <cstring>

#include "cpu/simd/attention_tiles.h"

namespace lowrank::cpu {

template <class S>
struct DotProducts {
  using F = typename S::F32;
  using I = typename S::I32;
  using Query = uint16_t;
  using Weight = uint16_t;
  static constexpr bool kWeightsInPlace = false;
  static constexpr int32_t kBlockPairs = kPageTokens / 2;
  static constexpr int kVectors = kDimensionChunk / 16;  // of one chunk of dimensions

  static LOWRANK_INLINE void store_query(Query* to, F x) { S::store_bfloat16(to, x); }
  static LOWRANK_INLINE void store_weights(Weight* to, F& low, F& high) {
    low = S::store_bfloat16(to, low);
    high = S::store_bfloat16(to + S::kLanes, high);
  }

  static void score(const Query* q, size_t stride, const KvBlock& block, const KvBlock& next, int32_t head_dim,
                    int32_t queries, float* buffer, float* scores) {
    auto* keys = reinterpret_cast<int32_t*>(buffer);  // [pairs][32]
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t pairs = (head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk) / 2;
      for (int32_t half = 0; half < kPageTokens; half += S::kLanes)
        for (int32_t c = 0; c < pairs; c += S::kLanes)
          S::transpose(block.k + static_cast<size_t>(half) * block.row_bytes + static_cast<size_t>(d + 2 * c) * 2,
                       block.row_bytes, pairs - c < S::kLanes ? pairs - c : S::kLanes,
                       [&](int column, I lanes) { S::int_store(keys + (c + column) * kPageTokens + half, lanes); });
      score_any<>({q + d, stride, keys, scores, pairs, d == 0, next.k + static_cast<size_t>(d) * kPageTokens * 2}, queries);
    }
  }

  static void add_values(const Weight* weights, const Range* visible, Range any, const KvBlock& block, const KvBlock& next,
                         int32_t head_dim, int32_t queries, float* buffer, float* o, size_t stride) {
    auto* values = reinterpret_cast<int32_t*>(buffer);  // [pairs][64]
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      for (int32_t pair = any.begin / 2; pair < (any.end + 1) / 2; ++pair) {
        I vectors[kVectors];
        load_pair(block, d, dims, pair, any, vectors);
        for (int v = 0; v < kVectors; ++v) S::int_store(values + pair * kDimensionChunk + v * S::kLanes, vectors[v]);
      }
      sum_any<>({weights, values, o + d, stride, visible, next.v + static_cast<size_t>(d) * kPageTokens * 2,
                 static_cast<size_t>(dims) * 4},
                queries);
    }
  }

  static void score_row(const Query* q, size_t stride, const KvBlock& block, const KvBlock& next, const KvBlock& far,
                        int32_t head_dim, int32_t queries, float* scores) {
    score_row_any<>(q, stride, block, next, far, head_dim, queries, scores);
  }
  static void add_values_row(const Weight* weights, Range visible, const KvBlock& block, const KvBlock& next,
                             const KvBlock& far, int32_t head_dim, int32_t queries, float* o, size_t stride) {
    add_row_any<>(weights, visible, block, next, far, head_dim, queries, o, stride);
  }

 private:
  static LOWRANK_INLINE I broadcast_pair(const uint16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return S::int_set1(pair);
  }

  // Dimensions [d, d + 64) of the keys 2 pair and 2 pair + 1, those outside `seen` as zeros.
  static LOWRANK_INLINE void load_pair(const KvBlock& block, int32_t d, int32_t dims, int32_t pair, Range seen,
                                       I (&vectors)[kVectors]) {
    const auto* even = reinterpret_cast<const uint16_t*>(block.v + static_cast<size_t>(2 * pair) * block.row_bytes) + d;
    const auto* odd = reinterpret_cast<const uint16_t*>(block.v + static_cast<size_t>(2 * pair + 1) * block.row_bytes) + d;
    const int32_t even_dims = 2 * pair >= seen.begin && 2 * pair < seen.end ? dims : 0;
    const int32_t odd_dims = 2 * pair + 1 >= seen.begin && 2 * pair + 1 < seen.end ? dims : 0;
#pragma GCC unroll 2
    for (int32_t c = 0; c < kDimensionChunk; c += 32)
      S::interleave_halves(S::load_halves_first(even + c, even_dims - c), S::load_halves_first(odd + c, odd_dims - c),
                           vectors[c / 16], vectors[c / 16 + 1]);
  }

  struct Scores {
    const uint16_t* q;  // [queries][stride], from the chunk's first dimension on
    size_t stride;
    const int32_t* keys;  // [pairs][32]
    float* scores;        // [queries][32]
    int32_t pairs;
    bool first;           // the chunk's sums start at zero, else at `scores`
    const uint8_t* next;  // the next block's K: two lines are asked for with each pair
  };

  template <int Queries>
  static LOWRANK_INLINE void score_tile(const Scores& args, int32_t i) {
    const uint16_t* q = args.q + static_cast<size_t>(i) * args.stride;
    float* scores = args.scores + static_cast<size_t>(i) * kPageTokens;
    F low[Queries], high[Queries];
#pragma GCC unroll 16
    for (int r = 0; r < Queries; ++r) {
      low[r] = args.first ? S::zero() : S::load(scores + r * kPageTokens);
      high[r] = args.first ? S::zero() : S::load(scores + r * kPageTokens + S::kLanes);
    }
    for (int32_t p = 0; p < args.pairs; ++p) {
      prefetch(args.next + static_cast<size_t>(p) * 128);
      prefetch(args.next + static_cast<size_t>(p) * 128 + 64);
      const I keys_low = S::int_load(args.keys + p * kPageTokens);
      const I keys_high = S::int_load(args.keys + p * kPageTokens + S::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Queries; ++r) {
        const I query = broadcast_pair(q + static_cast<size_t>(r) * args.stride + 2 * p);
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

  template <int Queries = S::kScoreQueries>
  static void score_any(const Scores& args, int32_t end, int32_t i = 0) {
    for (; end - i >= Queries; i += Queries) score_tile<Queries>(args, i);
    if constexpr (Queries > 1)
      if (i < end) score_any<Queries - 1>(args, end, i);
  }

  struct Values {
    const uint16_t* weights;  // [queries][32]
    const int32_t* values;    // [pairs][64]
    float* o;                 // [queries][stride], from the chunk's first dimension on
    size_t stride;
    const Range* visible;  // [queries] keys of the block
    const uint8_t* next;   // the next block's V, `next_step` bytes to ask for with each pair
    size_t next_step;
  };

  // Zeros in place of the key of the pair that lies outside `seen`.
  static LOWRANK_INLINE I masked_pair(I values, int32_t pair, Range seen) {
    uint32_t mask = 0xffffffffu;
    if (2 * pair < seen.begin || 2 * pair >= seen.end) mask &= 0xffff0000u;
    if (2 * pair + 1 < seen.begin || 2 * pair + 1 >= seen.end) mask &= 0x0000ffffu;
    return S::int_and(values, S::int_set1(static_cast<int32_t>(mask)));
  }

  // o[i + r, :] += the pairs in [begin, end); of one query alone, `seen` masks their keys.
  template <int Queries, bool Masked>
  static LOWRANK_INLINE void sum_tile(const Values& args, int32_t i, int32_t begin, int32_t end, Range seen) {
    const uint16_t* weights = args.weights + static_cast<size_t>(i) * kPageTokens;
    float* o = args.o + static_cast<size_t>(i) * args.stride;
    F sum[Queries][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[r][v] = S::load(o + static_cast<size_t>(r) * args.stride + v * S::kLanes);
    for (int32_t pair = begin; pair < end; ++pair) {
      for (size_t line = 0; line < args.next_step; line += 64)
        prefetch(args.next + static_cast<size_t>(pair) * args.next_step + line);
      I values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        values[v] = S::int_load(args.values + pair * kDimensionChunk + v * S::kLanes);
        if constexpr (Masked) values[v] = masked_pair(values[v], pair, seen);
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const I weight = broadcast_pair(weights + r * kPageTokens + 2 * pair);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = S::dot_bfloat16(sum[r][v], values[v], weight);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        S::store(o + static_cast<size_t>(r) * args.stride + v * S::kLanes, sum[r][v]);
  }

  // Pairs that all queries see whole are taken together; those before and behind, query by query.
  template <int Queries>
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
        sum_tile<1, true>(args, i + r, own.begin / 2, own_end, own);
    }
    if (begin < end) sum_tile<Queries, false>(args, i, begin, end, {});
    for (int r = 0; r < Queries; ++r) {
      const Range& own = args.visible[i + r];
      const int32_t own_begin = own.begin / 2 > end ? own.begin / 2 : end;
      if (own.begin < own.end && own_begin < (own.end + 1) / 2)
        sum_tile<1, true>(args, i + r, own_begin, (own.end + 1) / 2, own);
    }
  }

  template <int Queries = S::kValueQueries>
  static void sum_any(const Values& args, int32_t end, int32_t i = 0) {
    for (; end - i >= Queries; i += Queries) sum_group<Queries>(args, i);
    if constexpr (Queries > 1)
      if (i < end) sum_any<Queries - 1>(args, end, i);
  }

  template <int Queries = S::kDirectQueries>
  static LOWRANK_INLINE void score_row_any(const Query* q, size_t stride, const KvBlock& block, const KvBlock& next,
                                           const KvBlock& far, int32_t head_dim, int32_t queries, float* scores) {
    if constexpr (Queries > 1)
      if (queries < Queries) return score_row_any<Queries - 1>(q, stride, block, next, far, head_dim, queries, scores);
    for (int32_t half = 0; half < kPageTokens; half += S::kLanes) {
      const size_t begin = static_cast<size_t>(half) * block.row_bytes;
      F sum[Queries];
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) sum[r] = S::zero();
      const int32_t pairs = head_dim / 2;
      for (int32_t c = 0; c < pairs; c += S::kLanes)
        S::transpose(block.k + begin + static_cast<size_t>(c) * 4, block.row_bytes,
                     pairs - c < S::kLanes ? pairs - c : S::kLanes, [&](int column, I lanes) {
                       prefetch(next.k + begin + static_cast<size_t>(c + column) * 64);
                       prefetch_far(far.k + begin + static_cast<size_t>(c + column) * 64);
#pragma GCC unroll 8
                       for (int r = 0; r < Queries; ++r)
                         sum[r] = S::dot_bfloat16(
                             sum[r], lanes, broadcast_pair(q + static_cast<size_t>(r) * stride + 2 * (c + column)));
                     });
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) S::store(scores + r * kPageTokens + half, sum[r]);
    }
  }

  template <int Queries = S::kDirectQueries>
  static LOWRANK_INLINE void add_row_any(const Weight* weights, Range visible, const KvBlock& block, const KvBlock& next,
                                         const KvBlock& far, int32_t head_dim, int32_t queries, float* o, size_t stride) {
    if constexpr (Queries > 1)
      if (queries < Queries)
        return add_row_any<Queries - 1>(weights, visible, block, next, far, head_dim, queries, o, stride);
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      F sum[Queries][kVectors];
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          sum[r][v] = S::load(o + static_cast<size_t>(r) * stride + static_cast<size_t>(d) + v * S::kLanes);
      for (int32_t pair = visible.begin / 2; pair < (visible.end + 1) / 2; ++pair) {
        const uint8_t* ahead = next.v + static_cast<size_t>(2 * pair) * block.row_bytes + static_cast<size_t>(d) * 2;
        prefetch(ahead);
        prefetch(ahead + block.row_bytes);
        const uint8_t* further = far.v + static_cast<size_t>(2 * pair) * block.row_bytes + static_cast<size_t>(d) * 2;
        prefetch_far(further);
        prefetch_far(further + block.row_bytes);
        I values[kVectors];
        load_pair(block, d, dims, pair, visible, values);
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const I weight = broadcast_pair(weights + r * kPageTokens + 2 * pair);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sum[r][v] = S::dot_bfloat16(sum[r][v], values[v], weight);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          S::store(o + static_cast<size_t>(r) * stride + static_cast<size_t>(d) + v * S::kLanes, sum[r][v]);
    }
  }
};

}  // namespace lowrank::cpu
