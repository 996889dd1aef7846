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
// K and V lie as [page][kv_head][32][head_dim]. They are brought into shape once a block for all queries of the tile, 64
// dimensions at a time, in a buffer of at most 8 KiB that stays in the first cache. The two products are those of
// attention_products.h or attention_dot.h.
#pragma once

#include <algorithm>
#include <optional>

#include "cpu/simd/attention_cursor.h"
#include "cpu/simd/attention_dot.h"
#include "cpu/simd/attention_products.h"
#include "cpu/simd/attention_stage.h"
#include "cpu/simd/exponential.h"
#include "cpu/simd/prefetch_queue.h"

namespace lowrank::cpu {

inline constexpr int32_t kTileQueries = 32;
inline constexpr int32_t kTileQueryFloats = 2048;  // queries times head_dim rounded up to 64
inline constexpr int32_t kBlocksAhead = 4;          // that a decode asks for in advance: its blocks are done sooner than memory answers
inline constexpr float kNoKeys = -__builtin_inff();

template <class S, class Products>
class AttentionTile {
 public:
  using F = typename S::F32;

  explicit AttentionTile(const AttentionPagedArgs& args)
      : args_(args), stride_(static_cast<size_t>(round_up(args.head_dim, kDimensionChunk))) {}

  static int32_t largest_queries(int32_t head_dim) {
    const int32_t fit = kTileQueryFloats / round_up(head_dim, kDimensionChunk);
    return fit < kTileQueries ? fit : kTileQueries;
  }

  // Before `run` for row m, alone, with all heads of kv head `kv_head`, where the parts take such pairs in turn: asks memory for
  // their first blocks, unless that was done as an earlier pair went on.
  void begin_alone(int32_t m, int32_t kv_head, int parts) {
    if (near_ && near_->at(m, kv_head)) return;
    far_.emplace(args_, m, kv_head, parts);
    near_ = far_;
    for (int32_t i = 0; i < kBlocksAhead && !far_->ended(); ++i) {
      const KvBlock block = far_->block();
      const size_t bytes = block.row_bytes * kPageTokens;
      for (size_t line = 0; line < bytes; line += 64) prefetch_far(block.k + line);
      for (size_t line = 0; line < bytes; line += 64) prefetch_far(block.v + line);
      far_->advance();
    }
  }

  // Asks, during the next `run`, for the queries of rows [m, end) and heads [head, head + heads), which a later one will read.
  void queue_queries(int32_t m, int32_t end, int32_t head, int32_t heads) {
    const size_t bytes = static_cast<size_t>(heads) * static_cast<size_t>(args_.head_dim) * sizeof(float);
    for (; m < end; ++m) lines_.add(query(m, head), bytes);
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
    queue_output(m, rows, head, heads);
    const size_t share = lines_.lines() / static_cast<size_t>((end - begin) / kPageTokens + 1) + 1;
    const int32_t* table = args_.block_tables[m];
    for (int32_t j = begin / kPageTokens * kPageTokens; j < end; j += kPageTokens) {
      if (j % kAttentionSplit == 0) merge_splits();
      lines_.ask(share);
      const KvBlock block(args_, table[j / kPageTokens], kv_head);
      KvBlock next = block, far = block;
      if (near_ && near_->at(m, kv_head)) {
        near_->advance();
        if (!near_->ended()) next = near_->block();
        if (!far_->ended()) {
          far = far_->block();
          far_->advance();
        }
      } else if (j + kPageTokens < end) {
        next = KvBlock(args_, table[j / kPageTokens + 1], kv_head);
      }
      if (block.k_scale != nullptr) {
        take_scales(block);
        const KvBlock staged = staged_.widen(block, next, far, args_.head_dim);
        add_block(staged, staged, staged, j);
      } else {
        add_block(block, next, far, j);
      }
    }
    merge_splits();
    store_output(m, head, heads);
  }

 private:
  void load_queries(int32_t m, int32_t head, int32_t heads) {
    for (int32_t i = 0; i < queries_; ++i) {
      const int32_t row = m + i / heads;
      copy_query(query(row, head + i % heads), q_ + static_cast<size_t>(i) * stride_);
      const int32_t position = args_.positions[row];
      first_[i] = first_key(position, args_.window);
      end_[i] = position + 1;
      begin_split(i);
      total_largest_[i] = kNoKeys;
    }
  }

  void copy_query(const float* from, typename Products::Query* to) const {
    for (int32_t d = 0; d < static_cast<int32_t>(stride_); d += S::kLanes) {
      const int32_t left = args_.head_dim - d;
      Products::store_query(to + d, left > 0 ? S::load_first(from + d, lanes(left)) : S::zero());
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

  void add_block(const KvBlock& block, const KvBlock& next, const KvBlock& far, int32_t j) {
    int32_t any_begin = kPageTokens, any_end = 0;
    for (int32_t i = 0; i < queries_; ++i) {
      visible_[i].begin = first_[i] > j ? first_[i] - j : 0;
      visible_[i].end = end_[i] - j < kPageTokens ? end_[i] - j : kPageTokens;
      if (visible_[i].begin >= visible_[i].end) continue;
      any_begin = visible_[i].begin < any_begin ? visible_[i].begin : any_begin;
      any_end = visible_[i].end > any_end ? visible_[i].end : any_end;
    }
    if (direct_) {
      Products::score_row(q_, stride_, block, next, far, args_.head_dim, queries_, scores_);
      soften_all();
      Products::add_values_row(weights(), visible_[0], block, next, far, args_.head_dim, queries_, o_, stride_);
      return;
    }
    Products::score(q_, stride_, block, next, args_.head_dim, queries_, buffer_, scores_);
    soften_all();
    Products::add_values(weights(), visible_, {any_begin, any_end}, block, next, args_.head_dim, queries_, buffer_, o_,
                         stride_);
  }

  // Turns the scores of `Count` queries from i on into weights, and brings their sums to the new maxima. Several at once share
  // the steps that are one number a query; each query's numbers are the same as alone.
  template <int Count>
  LOWRANK_INLINE void soften(int32_t i) {
    static_assert(Count >= 1 && Count <= 4);
    constexpr int k1 = 1 % Count, k2 = 2 % Count, k3 = 3 % Count;  // any others, where there are not four
    const F none = S::set1(kNoKeys);
    const F scale = S::set1(args_.scale);
    F low[Count], high[Count];
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) {
      const float* scores = scores_ + static_cast<size_t>(i + r) * kPageTokens;
      const Range seen = visible_[i + r];
      low[r] = S::mul(S::load(scores), scale);
      high[r] = S::mul(S::load(scores + S::kLanes), scale);
      if (k_scale_ != nullptr) {
        low[r] = S::mul(low[r], S::load(k_scale_));
        high[r] = S::mul(high[r], S::load(k_scale_ + S::kLanes));
      }
      if (partial(seen)) {
        low[r] = keep_visible(low[r], seen, 0, none);
        high[r] = keep_visible(high[r], seen, S::kLanes, none);
      }
    }
    float largest[4], added[4];
    if constexpr (Count > 1)
      S::reduce_max4(S::max(low[0], high[0]), S::max(low[k1], high[k1]), S::max(low[k2], high[k2]), S::max(low[k3], high[k3]),
                     largest);
    else
      largest[0] = S::reduce_max(S::max(low[0], high[0]));
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) {
      largest[r] = largest[r] > largest_[i + r] ? largest[r] : largest_[i + r];
      low[r] = exponential<S>(S::sub(low[r], S::set1(largest[r])));
      high[r] = exponential<S>(S::sub(high[r], S::set1(largest[r])));
      const Range seen = visible_[i + r];
      if (partial(seen)) {
        low[r] = keep_visible(low[r], seen, 0, S::zero());
        high[r] = keep_visible(high[r], seen, S::kLanes, S::zero());
      }
      store_weights(i + r, seen, low[r], high[r]);
    }
    if constexpr (Count > 1)
      S::reduce_add4(S::add(low[0], high[0]), S::add(low[k1], high[k1]), S::add(low[k2], high[k2]), S::add(low[k3], high[k3]),
                     added);
    else
      added[0] = S::reduce_add(S::add(low[0], high[0]));
    for (int r = 0; r < Count; ++r) add_to_sum(i + r, largest[r], added[r]);
  }

  // Leaves in low and high what the softmax sums.
  LOWRANK_INLINE void store_weights(int32_t i, Range seen, F& low, F& high) {
    auto* to = weights() + static_cast<size_t>(i) * kPageTokens;
    if (k_scale_ == nullptr) return Products::store_weights(to, low, high);
    low = seen_product(low, v_scale_, seen, 0);
    high = seen_product(high, v_scale_ + S::kLanes, seen, S::kLanes);
    Products::store_weights(to, low, high);
    low = seen_product(low, v_inverse_, seen, 0);
    high = seen_product(high, v_inverse_ + S::kLanes, seen, S::kLanes);
  }

  // Scales that nobody has written may be NaN.
  static LOWRANK_INLINE F seen_product(F x, const float* factors, Range seen, int32_t lane) {
    const F product = S::mul(x, S::load(factors));
    return partial(seen) ? keep_visible(product, seen, lane, S::zero()) : product;
  }

  void take_scales(const KvBlock& block) {
    k_scale_ = block.k_scale;
    for (int32_t j = 0; j < kPageTokens; ++j) {
      // Values that are all zero count in the softmax none the less.
      v_scale_[j] = block.v_scale[j] == 0.0f ? 1.0f : block.v_scale[j];
      v_inverse_[j] = 1.0f / v_scale_[j];
    }
  }

  static LOWRANK_INLINE bool partial(Range seen) { return seen.end - seen.begin < kPageTokens; }

  LOWRANK_INLINE void add_to_sum(int32_t i, float largest, float added) {
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

  // All queries that see a key of the block.
  void soften_all() {
    for (int32_t i = 0; i < queries_;) {
      int32_t count = 0;
      while (count < 4 && i + count < queries_ && visible_[i + count].begin < visible_[i + count].end) ++count;
      switch (count) {
        case 4: soften<4>(i); break;
        case 3: soften<3>(i); break;
        case 2: soften<2>(i); break;
        case 1: soften<1>(i); break;
        default: count = 1;  // it sees none
      }
      i += count;
    }
  }

  typename Products::Weight* weights() {
    if constexpr (Products::kWeightsInPlace) return scores_;
    else return weights_;
  }

  // Lanes of keys [lane, lane + 16) of the block that are seen; `other` elsewhere.
  static LOWRANK_INLINE F keep_visible(F x, Range seen, int32_t lane, F other) {
    return S::keep_range(x, lanes(seen.begin - lane), lanes(seen.end - lane), other);
  }

  // count, within 0 to 16.
  static LOWRANK_INLINE int lanes(int32_t count) {
    return count < 0 ? 0 : count > S::kLanes ? S::kLanes : count;
  }

  const float* query(int32_t row, int32_t head) const {
    return args_.q + static_cast<size_t>(row) * static_cast<size_t>(args_.q_stride) +
           static_cast<size_t>(head) * static_cast<size_t>(args_.head_dim);
  }

  float* output(int32_t row, int32_t head) const {
    return args_.out + static_cast<size_t>(row) * static_cast<size_t>(args_.out_stride) +
           static_cast<size_t>(head) * static_cast<size_t>(args_.head_dim);
  }

  void queue_output(int32_t m, int32_t rows, int32_t head, int32_t heads) {
    const size_t bytes = static_cast<size_t>(heads) * static_cast<size_t>(args_.head_dim) * sizeof(float);
    for (int32_t row = m; row < m + rows; ++row) lines_.add_output(output(row, head), bytes);
  }

  void store_output(int32_t m, int32_t head, int32_t heads) const {
    for (int32_t i = 0; i < queries_; ++i) {
      float* out = output(m + i / heads, head + i % heads);
      const float* total = total_ + static_cast<size_t>(i) * stride_;
      const F sum = S::set1(total_sum_[i]);
      for (int32_t d = 0; d < args_.head_dim; d += S::kLanes) {
        const int32_t left = args_.head_dim - d;
        S::store_first(out + d, S::div(S::load(total + d), sum), lanes(left));
      }
    }
  }

  const AttentionPagedArgs& args_;
  std::optional<BlockCursor> near_, far_;  // of rows that are alone: at the next block, and kBlocksAhead further
  const size_t stride_;  // of q_, o_ and total_: head_dim rounded up to 64, the rest zero
  int32_t queries_ = 0;
  const float* k_scale_ = nullptr;  // [32] of the block, of an int8 cache
  bool direct_ = false;          // one row with few heads: see attention_direct.h
  int32_t first_[kTileQueries];  // first key and the key behind the last that a query sees
  int32_t end_[kTileQueries];
  Range visible_[kTileQueries];  // the same within the block
  float largest_[kTileQueries];  // of the split
  float sum_[kTileQueries];
  float total_largest_[kTileQueries];
  float total_sum_[kTileQueries];
  alignas(64) typename Products::Query q_[kTileQueryFloats];  // [queries][stride]
  alignas(64) float o_[kTileQueryFloats];                    // [queries][stride] of the split
  alignas(64) float total_[kTileQueryFloats];                // [queries][stride]
  alignas(64) float scores_[kTileQueries * kPageTokens];     // [queries][32]
  alignas(64) typename Products::Weight weights_[Products::kWeightsInPlace ? 1 : kTileQueries * kPageTokens];
  alignas(64) float v_scale_[kPageTokens];  // of the block, of an int8 cache
  alignas(64) float v_inverse_[kPageTokens];
  PrefetchQueue lines_;
  StagedBlock<S> staged_;
  alignas(64) float buffer_[kDimensionChunk * kPageTokens];  // K: [dims][32]; V: [32][64]
};

// Tiles are dealt to the parts in turn, so that long and short rows of a causal prefill are shared out
// evenly.
template <class S, class Products>
void attend_rows(const AttentionPagedArgs& args, int part, int parts) {
  using Tile = AttentionTile<S, Products>;
  Tile tile(args);
  const int32_t group = args.heads / args.kv_heads;
  const int32_t queries = Tile::largest_queries(args.head_dim);
  const int32_t tile_heads = group < queries ? group : queries;
  const int32_t tile_rows = queries / tile_heads;
  const int tiles_of_kv_head = (group + tile_heads - 1) / tile_heads;
  int index = 0;
  for (int32_t m = 0, sequence_end = 0; m < args.rows;) {
    if (m == sequence_end)
      while (++sequence_end < args.rows && args.block_tables[sequence_end] == args.block_tables[m]) {}
    // Tiles of one size: a small one at the end would bring all keys into shape for few queries.
    const int32_t left = (sequence_end - m + tile_rows - 1) / tile_rows;
    const int32_t rows = (sequence_end - m + left - 1) / left;
    const bool alone = rows == 1 && tiles_of_kv_head == 1;
    for (int32_t kv_head = 0; kv_head < args.kv_heads; ++kv_head)
      for (int32_t h = 0; h < group; h += tile_heads, ++index) {
        if (index % parts != part) continue;
        if (alone) tile.begin_alone(m, kv_head, parts);
        if (parts == 1) tile.queue_queries(m + rows, std::min(m + 2 * rows, args.rows), kv_head * group + h, tile_heads);
        tile.run(m, rows, kv_head, kv_head * group + h, group - h < tile_heads ? group - h : tile_heads);
      }
    m += rows;
  }
}

template <class S>
void attend(const AttentionPagedArgs& args, int part, int parts) {
  if constexpr (S::kBFloat16Dot)
    if (args.cache.format != KvFormat::kFloat32) return attend_rows<S, DotProducts<S>>(args, part, parts);
  attend_rows<S, FloatProducts<S>>(args, part, parts);
}

}  // namespace lowrank::cpu
