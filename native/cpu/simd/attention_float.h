// The two products of attention_paged.h in float32, S = Q K^T and O += P V: for a float32 cache, and for a bfloat16 one where
// the instruction set has no bfloat16 products. Keys and values are widened once a block for all queries of a tile, 64
// dimensions at a time, in a buffer of 8 KiB that stays in L1.
#pragma once

#include "cpu/simd/attention_block.h"
#include "cpu/simd/bfloat16_pairs.h"

namespace lowrank::cpu {

template <class S>
class FloatProducts {
 public:
  using F = typename S::F32;
  using I = typename S::I32;
  static constexpr bool kTakesScales = false;
  static constexpr size_t kBufferFloats = kDimensionChunk * kPageTokens;

  struct Queries {
    alignas(64) float q[kTileQueryFloats];  // [queries][stride], zero from head_dim on
  };
  struct Weights {};  // they replace the scores

  static void load_query(Queries& queries, int32_t i, size_t stride, const float* from, int32_t head_dim) {
    float* const to = queries.q + static_cast<size_t>(i) * stride;
    for_each_vector<S>(from, head_dim, stride, [&](size_t d, F x) { S::store(to + d, x); });
  }
  // Stores 32 weights of query i; leaves in low and high what was stored.
  static LOWRANK_INLINE void store_weights(Weights&, float* scores, int32_t i, F& low, F& high) {
    S::store(scores + i * kPageTokens, low);
    S::store(scores + i * kPageTokens + S::kLanes, high);
  }

  // scores [queries][32] of all keys of the block.
  static void score(const Queries& q, size_t stride, const KvBlock& block, const BlocksAhead& ahead, int32_t head_dim,
                    int32_t queries, float* buffer, float* scores) {
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
      score_queries<>({q.q + d, stride, widen_keys(block, ahead, d, dims, buffer), scores, dims, d == 0}, queries);
    }
  }
  // o [queries][stride] += weights [queries][32] times the values of the keys that each query sees; any: all of those.
  static void add_values(const Weights&, const float* weights, const Range* visible, Range any, const KvBlock& block, const BlocksAhead& ahead,
                         int32_t head_dim, int32_t queries, float* buffer, float* o, size_t stride) {
    for (int32_t d = 0; d < head_dim; d += kDimensionChunk) {
      widen_values(block, ahead, d, head_dim, any, buffer);
      sum_values<>({weights, buffer, o + d, stride, visible}, queries);
    }
  }

 private:
  // Dimensions [d, d + dims) of the block's keys as [dims][32].
  static const float* widen_keys(const KvBlock& block, const BlocksAhead& ahead, int32_t d, int32_t dims, float* keys) {
    constexpr size_t kLine = size_t{kPageTokens} * sizeof(float);
    if (block.format == KvFormat::kFloat32) {
      ahead.prefetch_keys(static_cast<size_t>(d) * kLine, static_cast<size_t>(dims) * kLine);
      return reinterpret_cast<const float*>(block.k) + static_cast<size_t>(d) * kPageTokens;
    }
    const uint8_t* from = block.k + static_cast<size_t>(d / 2) * kLine;
    for (int32_t i = 0; i < dims; i += 2, from += kLine) {
      ahead.prefetch_keys(static_cast<size_t>(from - block.k), kLine);
      for (int32_t lane = 0; lane < kPageTokens; lane += S::kLanes) {
        const I pairs = S::int_load(from + static_cast<size_t>(lane) * 4);
        S::store(keys + i * kPageTokens + lane, first_of_pairs<S>(pairs));
        S::store(keys + (i + 1) * kPageTokens + lane, second_of_pairs<S>(pairs));
      }
    }
    return keys;
  }

  // values [32][64] = dimensions [d, d + 64) of the block's values, at least for the keys in `seen`; zero from head_dim on.
  static void widen_values(const KvBlock& block, const BlocksAhead& ahead, int32_t d, int32_t head_dim, Range seen, float* values) {
    const int32_t dims = head_dim - d < kDimensionChunk ? head_dim - d : kDimensionChunk;
    const int32_t depth = kv_depth(block.format, head_dim);
    const size_t row_bytes = static_cast<size_t>(head_dim) * sizeof(float), begin = static_cast<size_t>(d) * sizeof(float);
    for (int32_t row = 0; row < kPageTokens / depth; ++row) {
      ahead.prefetch_values(static_cast<size_t>(row) * row_bytes + begin, static_cast<size_t>(dims) * sizeof(float));
      if ((row + 1) * depth <= seen.begin || row * depth >= seen.end) continue;
      const uint8_t* from = block.v + static_cast<size_t>(row) * row_bytes + begin;
      float* out = values + static_cast<size_t>(row) * static_cast<size_t>(depth) * kDimensionChunk;
      for (int32_t c = 0; c < kDimensionChunk; c += S::kLanes, from += static_cast<size_t>(S::kLanes) * sizeof(float)) {
        const int32_t left = dims - c;
        const I dwords = left >= S::kLanes ? S::int_load(from) : left > 0 ? S::int_load_first(from, left) : S::int_zero();
        if (depth == 1) {
          S::store(out + c, S::from_bits(dwords));
        } else {
          S::store(out + c, first_of_pairs<S>(dwords));
          S::store(out + kDimensionChunk + c, second_of_pairs<S>(dwords));
        }
      }
    }
  }

  struct Scores {
    const float* q;  // [queries][stride], from the chunk's first dimension on
    size_t stride;
    const float* keys;  // [dims][32]
    float* scores;      // [queries][32]
    int32_t dims;
    bool first;  // the chunk's sums start at zero, else at `scores`
  };

  template <int Queries>
  static LOWRANK_INLINE void score_tile(const Scores& args, int32_t i) {
    constexpr int kVectors = S::kScoreVectors;
    const float* q = args.q + static_cast<size_t>(i) * args.stride;
    for (int32_t lane = 0; lane < kPageTokens; lane += kVectors * S::kLanes) {
      float* scores = args.scores + i * kPageTokens + lane;
      F sum[Queries][kVectors];
#pragma GCC unroll 16
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[r][v] = args.first ? S::zero() : S::load(scores + r * kPageTokens + v * S::kLanes);
      for (int32_t d = 0; d < args.dims; ++d) {
        F keys[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) keys[v] = S::load(args.keys + d * kPageTokens + lane + v * S::kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < Queries; ++r) {
          const F query = S::set1(q[static_cast<size_t>(r) * args.stride + static_cast<size_t>(d)]);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) sum[r][v] = S::fma(query, keys[v], sum[r][v]);
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) S::store(scores + r * kPageTokens + v * S::kLanes, sum[r][v]);
    }
  }

  template <int Queries = S::kScoreQueries>
  static void score_queries(const Scores& args, int32_t end, int32_t i = 0) {
    for (; end - i >= Queries; i += Queries) score_tile<Queries>(args, i);
    if constexpr (Queries > 1)
      if (i < end) score_queries<Queries - 1>(args, end, i);
  }

  struct Values {
    const float* weights;  // [queries][32]
    const float* values;   // [32][64]
    float* o;              // [queries][stride], from the chunk's first dimension on
    size_t stride;
    const Range* visible;  // [queries] keys of the block
  };

  // o[i + r, :] += sum over the keys of weights[i + r, j] * values[j, :]
  template <int Queries>
  static LOWRANK_INLINE void value_tile(const Values& args, int32_t i, Range keys) {
    constexpr int kVectors = S::kValueVectors;
    const float* weights = args.weights + static_cast<size_t>(i) * kPageTokens;
    for (int32_t c = 0; c < kDimensionChunk; c += kVectors * S::kLanes) {
      float* o = args.o + static_cast<size_t>(i) * args.stride + c;
      F sum[Queries][kVectors];
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = S::load(o + static_cast<size_t>(r) * args.stride + v * S::kLanes);
      for (int32_t j = keys.begin; j < keys.end; ++j) {
        F values[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) values[v] = S::load(args.values + j * kDimensionChunk + c + v * S::kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const F weight = S::set1(weights[r * kPageTokens + j]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sum[r][v] = S::fma(weight, values[v], sum[r][v]);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) S::store(o + static_cast<size_t>(r) * args.stride + v * S::kLanes, sum[r][v]);
    }
  }

  // Queries of different rows see different keys at the ends of their ranges: those keys are taken query by
  // query, the ones that all see together, in ascending order for each.
  template <int Queries>
  static LOWRANK_INLINE void value_group(const Values& args, int32_t i) {
    Range common = args.visible[i];
    for (int r = 1; r < Queries; ++r) {
      const Range& own = args.visible[i + r];
      common.begin = own.begin > common.begin ? own.begin : common.begin;
      common.end = own.end < common.end ? own.end : common.end;
    }
    if (common.begin >= common.end) {
      for (int r = 0; r < Queries; ++r) value_tile<1>(args, i + r, args.visible[i + r]);
      return;
    }
    for (int r = 0; r < Queries; ++r)
      if (args.visible[i + r].begin < common.begin) value_tile<1>(args, i + r, {args.visible[i + r].begin, common.begin});
    value_tile<Queries>(args, i, common);
    for (int r = 0; r < Queries; ++r)
      if (args.visible[i + r].end > common.end) value_tile<1>(args, i + r, {common.end, args.visible[i + r].end});
  }

  template <int Queries = S::kValueQueries>
  static void sum_values(const Values& args, int32_t end, int32_t i = 0) {
    for (; end - i >= Queries; i += Queries) value_group<Queries>(args, i);
    if constexpr (Queries > 1)
      if (i < end) sum_values<Queries - 1>(args, end, i);
  }
};

}  // namespace lowrank::cpu
