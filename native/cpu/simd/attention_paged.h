// The attention of ops/attention_paged.h. A tile is up to 32 queries that share one kv head: consecutive rows
// of one sequence times the heads of the group. It walks the keys in blocks of 32 absolute positions (pages):
//
//   S = Q K^T                       lanes are keys (K transposed); a key's sum has d ascending
//   m' = max(m, S), P = exp(S - m')
//   l = l exp(m - m') + sum P       the 32 keys in the fixed tree of S::reduce_add
//   O = O exp(m - m') + P V         lanes are dimensions; a dimension's sum has keys ascending
//
// and merges its sums at every 256th position. What a query sums, and in which order, depends on its own
// visible keys alone: a key that it does not see adds nothing, not even zero times its value. So prefill and
// decode agree to the bit.
//
// K and V lie as [page][kv_head][32][head_dim]. They are widened to float32 once a block for all queries of
// the tile, 64 dimensions at a time, into a buffer of 8 KiB that stays in the first cache.
#pragma once

#include "cpu/simd/attention_direct.h"
#include "cpu/simd/exponential.h"

namespace lowrank::cpu {

inline constexpr int32_t kTileQueries = 32;
inline constexpr int32_t kTileQueryFloats = 2048;  // queries times head_dim rounded up to 64
inline constexpr float kNoKeys = -__builtin_inff();

template <class S>
class AttentionTile {
 public:
  using F = typename S::F32;

  explicit AttentionTile(const AttentionPagedArgs& args)
      : args_(args), stride_(static_cast<size_t>(round_up(args.head_dim, kDimensionChunk))) {}

  static int32_t largest_queries(int32_t head_dim) {
    const int32_t fit = kTileQueryFloats / round_up(head_dim, kDimensionChunk);
    return fit < kTileQueries ? fit : kTileQueries;
  }

  // Heads [head, head + heads) of rows [m, m + rows), all of one sequence and of kv head `kv_head`.
  void run(int32_t m, int32_t rows, int32_t kv_head, int32_t head, int32_t heads) {
    queries_ = rows * heads;
    direct_ = rows == 1 && heads <= S::kDirectQueries;
    load_queries(m, head, heads);
    int32_t begin = first_[0];
    int32_t end = end_[0];
    for (int32_t i = 1; i < queries_; ++i) {
      begin = first_[i] < begin ? first_[i] : begin;
      end = end_[i] > end ? end_[i] : end;
    }
    const int32_t* table = args_.block_tables[m];
    for (int32_t j = begin / kPageTokens * kPageTokens; j < end; j += kPageTokens) {
      if (j % kAttentionSplit == 0) merge_splits();
      const KvBlock block(args_, table[j / kPageTokens], kv_head);
      const bool last = j + kPageTokens >= end;
      add_block(block, last ? block : KvBlock(args_, table[j / kPageTokens + 1], kv_head), j);
    }
    merge_splits();
    store_output(m, head, heads);
  }

 private:
  void load_queries(int32_t m, int32_t head, int32_t heads) {
    for (int32_t i = 0; i < queries_; ++i) {
      const int32_t row = m + i / heads;
      const float* q = args_.q + static_cast<size_t>(row) * static_cast<size_t>(args_.q_stride) +
                       static_cast<size_t>(head + i % heads) * static_cast<size_t>(args_.head_dim);
      copy_row(q, q_ + static_cast<size_t>(i) * stride_);
      const int32_t position = args_.positions[row];
      const int32_t first = args_.window > 0 ? position - args_.window + 1 : 0;
      first_[i] = first > 0 ? first : 0;
      end_[i] = position + 1;
      begin_split(i);
      total_largest_[i] = kNoKeys;
    }
  }

  void copy_row(const float* from, float* to) const {
    for (int32_t d = 0; d < static_cast<int32_t>(stride_); d += S::kLanes) {
      const int32_t left = args_.head_dim - d;
      S::store(to + d, left > 0 ? S::load_first(from + d, lanes(left)) : S::zero());
    }
  }

  void begin_split(int32_t i) {
    largest_[i] = kNoKeys;
    sum_[i] = 0.0f;
    float* o = o_ + static_cast<size_t>(i) * stride_;
    for (size_t d = 0; d < stride_; d += S::kLanes) S::store(o + d, S::zero());
  }

  // Adds what the queries have summed since the last split to their totals.
  void merge_splits() {
    for (int32_t i = 0; i < queries_; ++i) {
      if (largest_[i] == kNoKeys && sum_[i] == 0.0f) continue;  // saw no key of the split
      float* o = o_ + static_cast<size_t>(i) * stride_;
      float* total = total_ + static_cast<size_t>(i) * stride_;
      if (total_largest_[i] == kNoKeys) {
        for (size_t d = 0; d < stride_; d += S::kLanes) S::store(total + d, S::load(o + d));
        total_sum_[i] = sum_[i];
        total_largest_[i] = largest_[i];
      } else {
        const float largest = total_largest_[i] > largest_[i] ? total_largest_[i] : largest_[i];
        const F old_factor = exponential<S>(S::set1(total_largest_[i] - largest));
        const F new_factor = exponential<S>(S::set1(largest_[i] - largest));
        for (size_t d = 0; d < stride_; d += S::kLanes)
          S::store(total + d, S::fma(S::load(o + d), new_factor, S::mul(S::load(total + d), old_factor)));
        total_sum_[i] = total_sum_[i] * S::first(old_factor) + sum_[i] * S::first(new_factor);
        total_largest_[i] = largest;
      }
      begin_split(i);
    }
  }

  void add_block(const KvBlock& block, const KvBlock& next, int32_t j) {
    int32_t any_begin = kPageTokens, any_end = 0;
    for (int32_t i = 0; i < queries_; ++i) {
      visible_[i].begin = first_[i] > j ? first_[i] - j : 0;
      visible_[i].end = end_[i] - j < kPageTokens ? end_[i] - j : kPageTokens;
      if (visible_[i].begin >= visible_[i].end) continue;
      any_begin = visible_[i].begin < any_begin ? visible_[i].begin : any_begin;
      any_end = visible_[i].end > any_end ? visible_[i].end : any_end;
    }
    if (direct_) {
      const DirectArgs direct{q_, o_, stride_, scores_, args_.head_dim, visible_[0]};
      score_directly_any<S>(direct, queries_, block, next);
      for (int32_t i = 0; i < queries_; ++i) soften(i);
      sum_values_directly_any<S>(direct, queries_, block, next);
      return;
    }
    for (int32_t d = 0; d < args_.head_dim; d += kDimensionChunk) {
      const int32_t dims = args_.head_dim - d < kDimensionChunk ? args_.head_dim - d : kDimensionChunk;
      load_keys<S>(block, d, dims, buffer_);
      const size_t next_step = static_cast<size_t>(kPageTokens) * next.element_bytes();
      const uint8_t* next_keys = next.k + static_cast<size_t>(d) * next_step;
      score_queries<S>({q_ + d, stride_, buffer_, scores_, dims, d == 0, next_keys, next_step}, queries_);
    }
    for (int32_t i = 0; i < queries_; ++i)
      if (visible_[i].begin < visible_[i].end) soften(i);
    for (int32_t d = 0; d < args_.head_dim; d += kDimensionChunk) {
      const int32_t dims = args_.head_dim - d < kDimensionChunk ? args_.head_dim - d : kDimensionChunk;
      load_values<S>(block, d, dims, {any_begin, any_end}, buffer_);
      const size_t next_step = static_cast<size_t>(dims) * next.element_bytes();
      const uint8_t* next_values = next.v + static_cast<size_t>(d) * kPageTokens * next.element_bytes();
      sum_values<S>({scores_, buffer_, o_ + d, stride_, visible_, next_values, next_step}, queries_);
    }
  }

  // Turns the scores of query i into weights, and brings its sums to the new maximum.
  void soften(int32_t i) {
    float* scores = scores_ + static_cast<size_t>(i) * kPageTokens;
    const Range seen = visible_[i];
    const F none = S::set1(kNoKeys);
    const F scale = S::set1(args_.scale);
    F low = S::mul(S::load(scores), scale);
    F high = S::mul(S::load(scores + S::kLanes), scale);
    const bool partial = seen.end - seen.begin < kPageTokens;
    if (partial) {
      low = keep_visible(low, seen, 0, none);
      high = keep_visible(high, seen, S::kLanes, none);
    }
    const float block_largest = S::reduce_max(S::max(low, high));
    const float largest = block_largest > largest_[i] ? block_largest : largest_[i];
    low = exponential<S>(S::sub(low, S::set1(largest)));
    high = exponential<S>(S::sub(high, S::set1(largest)));
    if (partial) {
      low = keep_visible(low, seen, 0, S::zero());
      high = keep_visible(high, seen, S::kLanes, S::zero());
    }
    S::store(scores, low);
    S::store(scores + S::kLanes, high);
    const float added = S::reduce_add(S::add(low, high));
    if (largest == largest_[i]) {
      sum_[i] = sum_[i] + added;
      return;
    }
    const F factor = exponential<S>(S::set1(largest_[i] - largest));
    sum_[i] = sum_[i] * S::first(factor) + added;
    largest_[i] = largest;
    float* o = o_ + static_cast<size_t>(i) * stride_;
    for (size_t d = 0; d < stride_; d += S::kLanes) S::store(o + d, S::mul(S::load(o + d), factor));
  }

  // Lanes of keys [lane, lane + 16) of the block that are seen; `other` elsewhere.
  static LOWRANK_INLINE F keep_visible(F x, Range seen, int32_t lane, F other) {
    return S::keep_range(x, lanes(seen.begin - lane), lanes(seen.end - lane), other);
  }

  // count, within 0 to 16.
  static LOWRANK_INLINE int lanes(int32_t count) {
    return count < 0 ? 0 : count > S::kLanes ? S::kLanes : count;
  }

  void store_output(int32_t m, int32_t head, int32_t heads) const {
    for (int32_t i = 0; i < queries_; ++i) {
      float* out = args_.out + static_cast<size_t>(m + i / heads) * static_cast<size_t>(args_.out_stride) +
                   static_cast<size_t>(head + i % heads) * static_cast<size_t>(args_.head_dim);
      const float* total = total_ + static_cast<size_t>(i) * stride_;
      const F sum = S::set1(total_sum_[i]);
      for (int32_t d = 0; d < args_.head_dim; d += S::kLanes) {
        const int32_t left = args_.head_dim - d;
        S::store_first(out + d, S::div(S::load(total + d), sum), lanes(left));
      }
    }
  }

  const AttentionPagedArgs& args_;
  const size_t stride_;  // of q_, o_ and total_: head_dim rounded up to 64, the rest zero
  int32_t queries_ = 0;
  bool direct_ = false;          // one row with few heads: see attention_direct.h
  int32_t first_[kTileQueries];  // first key and the key behind the last that a query sees
  int32_t end_[kTileQueries];
  Range visible_[kTileQueries];  // the same within the block
  float largest_[kTileQueries];  // of the split
  float sum_[kTileQueries];
  float total_largest_[kTileQueries];
  float total_sum_[kTileQueries];
  alignas(64) float q_[kTileQueryFloats];                    // [queries][stride]
  alignas(64) float o_[kTileQueryFloats];                    // [queries][stride] of the split
  alignas(64) float total_[kTileQueryFloats];                // [queries][stride]
  alignas(64) float scores_[kTileQueries * kPageTokens];     // [queries][32]
  alignas(64) float buffer_[kDimensionChunk * kPageTokens];  // K: [dims][32]; V: [32][64]
};

// Tiles are dealt to the parts in turn, so that long and short rows of a causal prefill are shared out
// evenly.
template <class S>
void attend_rows(const AttentionPagedArgs& args, int part, int parts) {
  AttentionTile<S> tile(args);
  const int32_t group = args.heads / args.kv_heads;
  const int32_t queries = AttentionTile<S>::largest_queries(args.head_dim);
  const int32_t tile_heads = group < queries ? group : queries;
  const int32_t tile_rows = queries / tile_heads;
  int index = 0;
  for (int32_t m = 0; m < args.rows;) {
    int32_t rows = 1;
    while (rows < tile_rows && m + rows < args.rows && args.block_tables[m + rows] == args.block_tables[m])
      ++rows;
    for (int32_t kv_head = 0; kv_head < args.kv_heads; ++kv_head)
      for (int32_t h = 0; h < group; h += tile_heads, ++index)
        if (index % parts == part)
          tile.run(m, rows, kv_head, kv_head * group + h, group - h < tile_heads ? group - h : tile_heads);
    m += rows;
  }
}

}  // namespace lowrank::cpu
