// The two products of attention_paged.h in float32, S = Q K^T and O += P V: for a float32 cache, and for a bfloat16 one where
// the instruction set has no bfloat16 products. Keys and values are widened once a block for all queries of a tile.
#pragma once

#include "cpu/simd/attention_direct.h"

namespace lowrank::cpu {

template <class S>
struct FloatProducts {
  using F = typename S::F32;
  using Query = float;
  using Weight = float;
  static constexpr bool kWeightsInPlace = true;  // the weights replace the scores

  static LOWRANK_INLINE void store_query(Query* to, F x) { S::store(to, x); }
  // Stores 32 weights; leaves in low and high what was stored.
  static LOWRANK_INLINE void store_weights(Weight* to, F& low, F& high) {
    S::store(to, low);
    S::store(to + S::kLanes, high);
  }

  // scores [queries][32] of all keys of the block.
  static void score(const Query* q, size_t stride, const KvBlock& block, const KvBlock& next, int32_t head_dim,
                    int32_t queries, float* buffer, float* scores) {
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      load_keys<S>(block, d, dims, buffer);
      const size_t next_step = static_cast<size_t>(kPageTokens) * next.element_bytes();
      const uint8_t* next_keys = next.k + static_cast<size_t>(d) * next_step;
      score_queries<S>({q + d, stride, buffer, scores, dims, d == 0, next_keys, next_step}, queries);
    }
  }
  // o [queries][stride] += weights [queries][32] times the values of the keys that each query sees; any: all of those.
  static void add_values(const Weight* weights, const Range* visible, Range any, const KvBlock& block, const KvBlock& next,
                         int32_t head_dim, int32_t queries, float* buffer, float* o, size_t stride) {
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      load_values<S>(block, d, dims, any, buffer);
      const size_t next_step = static_cast<size_t>(dims) * next.element_bytes();
      const uint8_t* next_values = next.v + static_cast<size_t>(d) * kPageTokens * next.element_bytes();
      sum_values<S>({weights, buffer, o + d, stride, visible, next_values, next_step}, queries);
    }
  }

  // The same for the heads of one row, without the buffer.
  static void score_row(const Query* q, size_t stride, const KvBlock& block, const KvBlock& next, const KvBlock&,
                        int32_t head_dim, int32_t queries, float* scores) {
    score_directly_any<S>({q, nullptr, stride, scores, head_dim, {}}, queries, block, next);
  }
  static void add_values_row(const Weight* weights, Range visible, const KvBlock& block, const KvBlock& next,
                             const KvBlock&, int32_t head_dim, int32_t queries, float* o, size_t stride) {
    sum_values_directly_any<S>({nullptr, o, stride, const_cast<float*>(weights), head_dim, visible}, queries, block, next);
  }
};

}  // namespace lowrank::cpu
