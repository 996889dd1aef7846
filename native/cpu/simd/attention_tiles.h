// The two small products of attention_paged.h and the loads of a block's keys and values.
#pragma once

#include "cpu/simd/prefetch.h"
#include "ops/attention_paged.h"

namespace lowrank::cpu {

inline constexpr int32_t kDimensionChunk = 64;

// K and V of one kv head in one page: [32][head_dim] each, of the cache's format.
//
// Pages lie anywhere, so the hardware cannot guess the next one. The loops below ask for the next block's
// lines one by one as they go through this one: all at once, they would only queue up in front of the loads.
struct KvBlock {
  const uint8_t* k;
  const uint8_t* v;
  size_t row_bytes;
  bool bfloat16;
  const float* k_scale = nullptr;  // [32], of int8 only
  const float* v_scale = nullptr;

  // Of bfloat16, anywhere.
  LOWRANK_INLINE KvBlock(const uint8_t* keys, const uint8_t* values, size_t bytes)
      : k(keys), v(values), row_bytes(bytes), bfloat16(true) {}

  LOWRANK_INLINE KvBlock(const AttentionPagedArgs& args, int32_t page, int32_t kv_head) {
    bfloat16 = args.cache.format == KvFormat::kBFloat16;
    const size_t element = kv_element_bytes(args.cache.format);
    row_bytes = static_cast<size_t>(args.head_dim) * element;
    const size_t begin = (static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_elements) +
                          static_cast<size_t>(kv_head) * kPageTokens * static_cast<size_t>(args.head_dim)) *
                         element;
    k = static_cast<const uint8_t*>(args.cache.k) + begin;
    v = static_cast<const uint8_t*>(args.cache.v) + begin;
    if (args.cache.format != KvFormat::kInt8) return;
    const size_t scale = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_scales) +
                         static_cast<size_t>(kv_head) * kPageTokens;
    k_scale = args.cache.k_scale + scale;
    v_scale = args.cache.v_scale + scale;
  }
  // Not of int8.
  LOWRANK_INLINE size_t element_bytes() const { return bfloat16 ? 2 : 4; }
};

// keys [dims][32] = dimensions [d, d + dims) of the block's keys, transposed. bfloat16: dims is even.
template <class S>
LOWRANK_INLINE void load_keys(const KvBlock& block, int32_t d, int32_t dims, float* keys) {
  for (int32_t half = 0; half < kPageTokens; half += S::kLanes) {
    const uint8_t* rows = block.k + static_cast<size_t>(half) * block.row_bytes;
    float* out = keys + half;
    if (block.bfloat16) {
      // Pairs of dimensions are moved as one, and separated afterwards.
      const int32_t pairs = dims / 2;
      for (int32_t c = 0; c < pairs; c += S::kLanes)
        S::transpose(rows + static_cast<size_t>(d + 2 * c) * 2, block.row_bytes,
                     pairs - c < S::kLanes ? pairs - c : S::kLanes, [&](int column, typename S::I32 lanes) {
                       float* pair = out + (2 * (c + column)) * kPageTokens;
                       S::store(pair, S::from_bits(S::template int_shift_left<16>(lanes)));
                       S::store(
                           pair + kPageTokens,
                           S::from_bits(S::int_and(lanes, S::int_set1(static_cast<int32_t>(0xffff0000u)))));
                     });
    } else {
      for (int32_t c = 0; c < dims; c += S::kLanes)
        S::transpose(rows + static_cast<size_t>(d + c) * 4, block.row_bytes,
                     dims - c < S::kLanes ? dims - c : S::kLanes, [&](int column, typename S::I32 lanes) {
                       S::store(out + (c + column) * kPageTokens, S::from_bits(lanes));
                     });
    }
  }
}

// 16 values of the cache's format.
template <class S>
LOWRANK_INLINE typename S::F32 load_value(const KvBlock& block, const uint8_t* from) {
  return block.bfloat16 ? S::load_bfloat16(reinterpret_cast<const uint16_t*>(from))
                        : S::load(reinterpret_cast<const float*>(from));
}
// The first `left` of them; none where it is not positive.
template <class S>
LOWRANK_INLINE typename S::F32 load_value_first(const KvBlock& block, const uint8_t* from, int32_t left) {
  if (left >= S::kLanes) return load_value<S>(block, from);
  if (left <= 0) return S::zero();
  return block.bfloat16 ? S::load_bfloat16_first(reinterpret_cast<const uint16_t*>(from), left)
                        : S::load_first(reinterpret_cast<const float*>(from), left);
}

// values [32][64] = dimensions [d, d + dims) of the block's values, for the keys in `seen`; zero from dims
// on.
template <class S>
LOWRANK_INLINE void load_values(const KvBlock& block, int32_t d, int32_t dims, Range seen, float* values) {
  for (int32_t j = seen.begin; j < seen.end; ++j) {
    const uint8_t* from =
        block.v + static_cast<size_t>(j) * block.row_bytes + static_cast<size_t>(d) * block.element_bytes();
    float* out = values + static_cast<size_t>(j) * kDimensionChunk;
    for (int32_t c = 0; c < kDimensionChunk;
         c += S::kLanes, from += static_cast<size_t>(S::kLanes) * block.element_bytes())
      S::store(out + c, load_value_first<S>(block, from, dims - c));
  }
}

struct ScoreArgs {
  const float* q;  // [queries][q_stride], from the chunk's first dimension on
  size_t q_stride;
  const float* keys;  // [dims][32]
  float* scores;      // [queries][32]
  int32_t dims;
  bool first;           // the chunk's sums start at zero, else at `scores`
  const uint8_t* next;  // the next block's K, `next_step` bytes to ask for with each dimension
  size_t next_step;
};

template <class S, int Queries>
LOWRANK_INLINE void score_tile(const ScoreArgs& args, int32_t i) {
  using F = typename S::F32;
  const float* q = args.q + static_cast<size_t>(i) * args.q_stride;
  float* scores = args.scores + static_cast<size_t>(i) * kPageTokens;
  F low[Queries], high[Queries];
#pragma GCC unroll 16
  for (int r = 0; r < Queries; ++r) {
    low[r] = args.first ? S::zero() : S::load(scores + r * kPageTokens);
    high[r] = args.first ? S::zero() : S::load(scores + r * kPageTokens + S::kLanes);
  }
  for (int32_t d = 0; d < args.dims; ++d) {
    prefetch(args.next + static_cast<size_t>(d) * args.next_step);
    const F key_low = S::load(args.keys + d * kPageTokens);
    const F key_high = S::load(args.keys + d * kPageTokens + S::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Queries; ++r) {
      const F query = S::set1(q[static_cast<size_t>(r) * args.q_stride + static_cast<size_t>(d)]);
      low[r] = S::fma(query, key_low, low[r]);
      high[r] = S::fma(query, key_high, high[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Queries; ++r) {
    S::store(scores + r * kPageTokens, low[r]);
    S::store(scores + r * kPageTokens + S::kLanes, high[r]);
  }
}

template <class S, int Queries = S::kScoreQueries>
void score_queries(const ScoreArgs& args, int32_t end, int32_t i = 0) {
  for (; end - i >= Queries; i += Queries) score_tile<S, Queries>(args, i);
  if constexpr (Queries > 1)
    if (i < end) score_queries<S, Queries - 1>(args, end, i);
}

struct ValueArgs {
  const float* weights;  // [queries][32]
  const float* values;   // [32][64]
  float* o;              // [queries][o_stride], from the chunk's first dimension on
  size_t o_stride;
  const Range* visible;  // [queries] keys of the block
  const uint8_t* next;   // the next block's V, `next_step` bytes to ask for with each key
  size_t next_step;
};

// o[i + r, :] += sum over the keys of weights[i + r, j] * values[j, :]
template <class S, int Queries>
LOWRANK_INLINE void value_tile(const ValueArgs& args, int32_t i, Range keys) {
  using F = typename S::F32;
  constexpr int kVectors = S::kValueVectors;
  const float* weights = args.weights + static_cast<size_t>(i) * kPageTokens;
  for (int32_t c = 0; c < kDimensionChunk; c += kVectors * S::kLanes) {
    float* o = args.o + static_cast<size_t>(i) * args.o_stride + c;
    F sum[Queries][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[r][v] = S::load(o + static_cast<size_t>(r) * args.o_stride + v * S::kLanes);
    for (int32_t j = keys.begin; j < keys.end; ++j) {
      if (c == 0)
        for (size_t line = 0; line < args.next_step; line += 64)
          prefetch(args.next + static_cast<size_t>(j) * args.next_step + line);
      F values[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        values[v] = S::load(args.values + j * kDimensionChunk + c + v * S::kLanes);
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
      for (int v = 0; v < kVectors; ++v)
        S::store(o + static_cast<size_t>(r) * args.o_stride + v * S::kLanes, sum[r][v]);
  }
}

// Queries of different rows see different keys at the ends of their ranges: those keys are taken query by
// query, the ones that all see together, in ascending order for each.
template <class S, int Queries>
LOWRANK_INLINE void value_group(const ValueArgs& args, int32_t i) {
  Range common = args.visible[i];
  for (int r = 1; r < Queries; ++r) {
    const Range& own = args.visible[i + r];
    common.begin = own.begin > common.begin ? own.begin : common.begin;
    common.end = own.end < common.end ? own.end : common.end;
  }
  if (common.begin >= common.end) {
    for (int r = 0; r < Queries; ++r) value_tile<S, 1>(args, i + r, args.visible[i + r]);
    return;
  }
  for (int r = 0; r < Queries; ++r)
    if (args.visible[i + r].begin < common.begin)
      value_tile<S, 1>(args, i + r, {args.visible[i + r].begin, common.begin});
  value_tile<S, Queries>(args, i, common);
  for (int r = 0; r < Queries; ++r)
    if (args.visible[i + r].end > common.end)
      value_tile<S, 1>(args, i + r, {common.end, args.visible[i + r].end});
}

template <class S, int Queries = S::kValueQueries>
void sum_values(const ValueArgs& args, int32_t end, int32_t i = 0) {
  for (; end - i >= Queries; i += Queries) value_group<S, Queries>(args, i);
  if constexpr (Queries > 1)
    if (i < end) sum_values<S, Queries - 1>(args, end, i);
}

}  // namespace lowrank::cpu
