// The two products of attention_paged.h for one row with few heads, as in decoding: keys and values go from
// the cache through registers into the sums, without the buffers that pay only where many queries share them.
// Each sum takes its terms in the same order as there, so the results are the same to the bit.
#pragma once

#include "cpu/simd/attention_tiles.h"

namespace lowrank::cpu {

struct DirectArgs {
  const float* q;  // [queries][stride]
  float* o;        // [queries][stride]
  size_t stride;
  float* scores;  // [queries][32]
  int32_t head_dim;
  Range visible;  // keys of the block
};

// scores[i, j] = q[i] . K[j] for all 32 keys of the block.
template <class S, int Queries>
LOWRANK_INLINE void score_directly(const DirectArgs& args, const KvBlock& block, const KvBlock& next) {
  using F = typename S::F32;
  using I = typename S::I32;
  for (int32_t half = 0; half < kPageTokens; half += S::kLanes) {
    const size_t begin = static_cast<size_t>(half) * block.row_bytes;
    const uint8_t* ahead = next.k + begin;
    F sum[Queries];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) sum[r] = S::zero();
    const auto add_dimension = [&](int32_t d, F keys) {
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r)
        sum[r] = S::fma(S::set1(args.q[static_cast<size_t>(r) * args.stride + static_cast<size_t>(d)]), keys,
                        sum[r]);
    };
    // A dword of a key holds one dimension, or two in bfloat16.
    const int32_t dwords = static_cast<int32_t>(block.row_bytes / 4);
    for (int32_t c = 0; c < dwords; c += S::kLanes) {
      const int32_t columns = dwords - c < S::kLanes ? dwords - c : S::kLanes;
      S::transpose(
          block.k + begin + static_cast<size_t>(c) * 4, block.row_bytes, columns, [&](int column, I lanes) {
            prefetch(ahead + static_cast<size_t>(c + column) * 64);
            if (block.bfloat16) {
              add_dimension(2 * (c + column), S::from_bits(S::template int_shift_left<16>(lanes)));
              add_dimension(2 * (c + column) + 1,
                            S::from_bits(S::int_and(lanes, S::int_set1(static_cast<int32_t>(0xffff0000u)))));
            } else {
              add_dimension(c + column, S::from_bits(lanes));
            }
          });
    }
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) S::store(args.scores + r * kPageTokens + half, sum[r]);
  }
}

// o[i] += sum over the visible keys of scores[i, j] V[j]
template <class S, int Queries>
LOWRANK_INLINE void sum_values_directly(const DirectArgs& args, const KvBlock& block, const KvBlock& next) {
  using F = typename S::F32;
  constexpr int kVectors = S::kValueVectors;
  for (int32_t d = 0; d < args.head_dim; d += kVectors * S::kLanes) {
    float* o = args.o + d;
    F sum[Queries][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[r][v] = S::load(o + static_cast<size_t>(r) * args.stride + v * S::kLanes);
    const bool whole = args.head_dim - d >= kVectors * S::kLanes;
    for (int32_t j = args.visible.begin; j < args.visible.end; ++j) {
      const size_t row =
          static_cast<size_t>(j) * block.row_bytes + static_cast<size_t>(d) * block.element_bytes();
      for (size_t line = 0; line < kVectors * S::kLanes * block.element_bytes(); line += 64)
        prefetch(next.v + row + line);
      F values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const uint8_t* from = block.v + row + static_cast<size_t>(v) * S::kLanes * block.element_bytes();
        values[v] = whole ? load_value<S>(block, from)
                          : load_value_first<S>(block, from, args.head_dim - d - v * S::kLanes);
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const F weight = S::set1(args.scores[r * kPageTokens + j]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = S::fma(weight, values[v], sum[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        S::store(o + static_cast<size_t>(r) * args.stride + v * S::kLanes, sum[r][v]);
  }
}

// Finds the instantiation for `queries`, at most Queries.
template <class S, int Queries = S::kDirectQueries>
LOWRANK_INLINE void score_directly_any(const DirectArgs& args, int32_t queries, const KvBlock& block,
                                       const KvBlock& next) {
  if constexpr (Queries > 1)
    if (queries < Queries) return score_directly_any<S, Queries - 1>(args, queries, block, next);
  score_directly<S, Queries>(args, block, next);
}
template <class S, int Queries = S::kDirectQueries>
LOWRANK_INLINE void sum_values_directly_any(const DirectArgs& args, int32_t queries, const KvBlock& block,
                                            const KvBlock& next) {
  if constexpr (Queries > 1)
    if (queries < Queries) return sum_values_directly_any<S, Queries - 1>(args, queries, block, next);
  sum_values_directly<S, Queries>(args, block, next);
}

}  // namespace lowrank::cpu
