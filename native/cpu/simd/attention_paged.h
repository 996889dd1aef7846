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
// Scores are kept times log2 e, so that weights are powers of two. A soft cap is a pass over the block's scores. The two products are those of attention_float.h,
// attention_dot.h or attention_int8.h, the tiles of a part and what it reads next those of attention_plan.h.
#pragma once

#include <optional>

#include "cpu/simd/attention_dot.h"
#include "cpu/simd/attention_float.h"
#include "cpu/simd/attention_int8.h"
#include "cpu/simd/attention_plan.h"
#include "cpu/simd/attention_stage.h"
#include "cpu/simd/exponential.h"
#include "cpu/simd/prefetch_queue.h"

namespace lowrank::cpu {

inline constexpr int32_t kBlocksAhead = 4;         // that few rows prefetch: a block is done sooner than memory answers
inline constexpr float kNoKeys = -__builtin_inff();
inline constexpr float kLog2E = 0x1.715476p+0f;

template <class S, class Products>
class AttentionTile {
 public:
  using F = typename S::F32;

  explicit AttentionTile(const AttentionPagedArgs& args)
      : args_(args), stride_(static_cast<size_t>(round_up(args.head_dim, kDimensionChunk))),
        score_scale_(args.soft_cap == 0.0f ? args.scale * kLog2E : 1.0f) {}

  static int32_t largest_queries(int32_t head_dim) {
    const int32_t fit = kTileQueryFloats / round_up(head_dim, kDimensionChunk);
    return fit < kTileQueries ? fit : kTileQueries;
  }

  // Before the first of a part's tiles. Few rows wait for memory: their blocks are prefetched as long before they are read as it
  // takes to answer, from tile to tile. Many rows find them in L2.
  void begin(const PartTiles<S>& tiles) {
    if (args_.rows > kTileQueries || tiles.ended()) return;
    near_.emplace(tiles);
    far_.emplace(tiles);
    const size_t bytes = kv_element_bytes(args_.cache.format) * static_cast<size_t>(args_.head_dim) * kPageTokens;
    for (int32_t i = 0; i < kBlocksAhead && !far_->ended(); ++i, far_->advance()) {
      const KvBlock block = far_->block(args_);
      for (size_t line = 0; line < bytes; line += 64) prefetch_far(block.k + line);
      for (size_t line = 0; line < bytes; line += 64) prefetch_far(block.v + line);
    }
  }

  void run(const PartTiles<S>& own) {
    tile_ = own.tile();
    queries_ = tile_.queries();
    load_queries();
    queue_lines(own);
    const size_t share = lines_.lines() / static_cast<size_t>(tile_.pages.end - tile_.pages.begin) + 1;
    const Range splits = own.splits();
    for (int32_t split = splits.begin; split < splits.end; ++split) {
      const Range pages = tile_.pages_of(split);
      for (int32_t page = pages.begin; page < pages.end; ++page) {
        lines_.prefetch_next(share);
        read_block(page);
      }
      if (own.shared())
        keep_split(own, split);
      else
        merge_split();
    }
    if (own.shared()) {
      // What the others left is seen behind the addition of the last of them, and what this part left behind its own.
      std::atomic<uint32_t>& arrived = args_.share.arrived[own.first_part()];
      if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 != own.sharers()) return;
      arrived.store(0, std::memory_order_relaxed);
      merge_kept(own);
    }
    store_output();
  }

 private:
  void load_queries() {
    for (int32_t i = 0; i < queries_; ++i) {
      const int32_t row = tile_.m + i / tile_.heads;
      Products::load_query(q_, i, stride_, query(row, tile_.head + i % tile_.heads), args_.head_dim);
      const int32_t position = args_.positions[row];
      first_[i] = first_key(position, args_.window);
      end_[i] = position + 1;
      last_first_ = i == 0 || first_[i] > last_first_ ? first_[i] : last_first_;
      first_end_ = i == 0 || end_[i] < first_end_ ? end_[i] : first_end_;
      begin_split(i);
      total_largest_[i] = kNoKeys;
    }
    all_visible_ = false;
  }

  // What the next block's reading can hide: the output of this tile, and the queries of the next one.
  void queue_lines(const PartTiles<S>& own) {
    const auto bytes = [&](int32_t heads) { return static_cast<size_t>(heads) * static_cast<size_t>(args_.head_dim) * sizeof(float); };
    for (int32_t row = tile_.m; row < tile_.m + tile_.rows; ++row) lines_.add_output(output(row, tile_.head), bytes(tile_.heads));
    PartTiles<S> later = own;
    later.advance();
    if (later.ended()) return;
    const QueryTile& next = later.tile();
    for (int32_t row = next.m; row < next.m + next.rows; ++row) lines_.add(query(row, next.head), bytes(next.heads));
  }

  void begin_split(int32_t i) {
    largest_[i] = kNoKeys;
    sum_[i] = 0.0f;
    float* o = o_ + static_cast<size_t>(i) * stride_;
    for (size_t d = 0; d < stride_; d += S::kLanes) S::store(o + d, S::zero());
  }

  // Adds what the queries have summed since the last split to their totals.
  void merge_split() {
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
        const F old_factor = power_of_two<S>(S::set1(total_largest_[i] - largest));
        const F new_factor = power_of_two<S>(S::set1(largest_[i] - largest));
        for (size_t d = 0; d < stride_; d += S::kLanes)
          S::store(total + d, S::fma(S::load(o + d), new_factor, S::mul(S::load(total + d), old_factor)));
        total_sum_[i] = total_sum_[i] * S::first(old_factor) + sum_[i] * S::first(new_factor);
        total_largest_[i] = largest;
      }
      begin_split(i);
    }
  }

  // Query i's state of a split of a tile that parts share.
  float* kept_state(const PartTiles<S>& own, int32_t split, int32_t i) const {
    const AttentionShare& share = args_.share;
    const auto place = (static_cast<size_t>(own.first_part()) * static_cast<size_t>(share.splits) +
                        static_cast<size_t>(split - tile_.splits().begin)) *
                           static_cast<size_t>(share.queries) +
                       static_cast<size_t>(i);
    return share.partials + place * static_cast<size_t>(attention_state_floats(args_.head_dim));
  }

  void keep_split(const PartTiles<S>& own, int32_t split) {
    for (int32_t i = 0; i < queries_; ++i) {
      float* state = kept_state(own, split, i);
      const float* o = o_ + static_cast<size_t>(i) * stride_;
      for (size_t d = 0; d < stride_; d += S::kLanes) S::store(state + d, S::load(o + d));
      state[stride_] = largest_[i];
      state[stride_ + 1] = sum_[i];
      begin_split(i);
    }
  }

  void merge_kept(const PartTiles<S>& own) {
    const Range splits = tile_.splits();
    for (int32_t split = splits.begin; split < splits.end; ++split) {
      for (int32_t i = 0; i < queries_; ++i) {
        const float* state = kept_state(own, split, i);
        float* o = o_ + static_cast<size_t>(i) * stride_;
        for (size_t d = 0; d < stride_; d += S::kLanes) S::store(o + d, S::load(state + d));
        largest_[i] = state[stride_];
        sum_[i] = state[stride_ + 1];
      }
      merge_split();
    }
  }

  void read_block(int32_t page) {
    const int32_t* table = args_.block_tables[tile_.m];
    const KvBlock block(args_, table[page], tile_.kv_head);
    KvBlock next = block, far = block;
    if (near_) {
      near_->advance();
      if (!near_->ended()) next = near_->block(args_);
      if (!far_->ended()) {
        far = far_->block(args_);
        far_->advance();
      }
    } else if (page + 1 < tile_.pages.end) {
      far = next = KvBlock(args_, table[page + 1], tile_.kv_head);
    }
    see(page * kPageTokens);
    if constexpr (Products::kTakesScales) {
      k_scale_ = block.k_scale;
      block_v_scale_ = block.v_scale;
      return add_block(block, {next, far});
    }
    if (block.format != KvFormat::kInt8) return add_block(block, {next, far});
    take_scales(block);
    const KvBlock staged = staged_.widen(block, {next, far}, args_.head_dim);
    add_block(staged, {staged, staged});
  }

  // Which keys of the block at position j each query sees.
  void see(int32_t j) {
    const bool all = last_first_ <= j && first_end_ >= j + kPageTokens;
    if (all && all_visible_) return;
    all_visible_ = all;
    any_ = {kPageTokens, 0};
    for (int32_t i = 0; i < queries_; ++i) {
      visible_[i].begin = first_[i] > j ? first_[i] - j : 0;
      visible_[i].end = end_[i] - j < kPageTokens ? end_[i] - j : kPageTokens;
      if (visible_[i].begin >= visible_[i].end) continue;
      any_.begin = visible_[i].begin < any_.begin ? visible_[i].begin : any_.begin;
      any_.end = visible_[i].end > any_.end ? visible_[i].end : any_.end;
    }
  }

  void add_block(const KvBlock& block, const BlocksAhead& ahead) {
    Products::score(q_, stride_, block, ahead, args_.head_dim, queries_, buffer_, scores_);
    if (args_.soft_cap != 0.0f) cap_scores();
    softmax_block();
    Products::add_values(weights_, scores_, visible_, any_, block, ahead, args_.head_dim, queries_, buffer_, o_, stride_);
  }

  // Scores in place of the products, capped and times log2 e. Scales of keys, which belong below the cap, are 1 from here on.
  void cap_scores() {
    const F factor = S::set1(args_.scale / args_.soft_cap), cap = S::set1(args_.soft_cap * kLog2E);
    for (int32_t i = 0; i < queries_ * kPageTokens; i += S::kLanes) {
      F x = S::mul(S::load(scores_ + i), factor);
      if (k_scale_ != nullptr) x = S::mul(x, S::load(k_scale_ + i % kPageTokens));
      S::store(scores_ + i, capped_tanh<S>(x, cap));
    }
    if (k_scale_ != nullptr) k_scale_ = kOnes;
  }

  // Turns the scores of `Count` queries from i on into weights, and brings their sums to the new maxima. Several at once share
  // the steps that are one number a query; each query's numbers are the same as alone. Masked: some of them do not see all
  // keys of the block. Scaled: the keys and values have scales.
  template <int Count, bool Masked, bool Scaled>
  LOWRANK_INLINE void softmax_queries(int32_t i) {
    F low[Count], high[Count], both[Count];
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) {
      load_scores<Masked, Scaled>(i + r, low[r], high[r]);
      both[r] = S::max(low[r], high[r]);
    }
    float reduced[4], largest[4];
    reduce_max(both, reduced);
    for (int r = 0; r < Count; ++r) largest[r] = reduced[r] > largest_[i + r] ? reduced[r] : largest_[i + r];
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) {
      low[r] = power_of_two<S>(S::sub(low[r], S::set1(largest[r])));
      high[r] = power_of_two<S>(S::sub(high[r], S::set1(largest[r])));
      hide_unseen<Masked>(i + r, low[r], high[r], S::zero());
      if constexpr (!Products::kTakesScales) store_weights<Masked, Scaled>(i + r, low[r], high[r]);
      both[r] = S::add(low[r], high[r]);
    }
    if constexpr (Products::kTakesScales) scale_weights<Count, Masked>(i, low, high, both);
    float added[4];
    reduce_add(both, added);
    for (int r = 0; r < Count; ++r) add_to_sum(i + r, largest[r], added[r]);
  }

  LOWRANK_INLINE void add_to_sum(int32_t i, float largest, float added) {
    if (largest == largest_[i]) {
      sum_[i] = sum_[i] + added;
      return;
    }
    const F factor = power_of_two<S>(S::set1(largest_[i] - largest));
    sum_[i] = sum_[i] * S::first(factor) + added;
    largest_[i] = largest;
    float* o = o_ + static_cast<size_t>(i) * stride_;
    for (size_t d = 0; d < stride_; d += S::kLanes) S::store(o + d, S::mul(S::load(o + d), factor));
  }

  // out[r]: the lanes of x[r] reduced to one. Where there are not four, any others stand in for them.
  template <int Count>
  static LOWRANK_INLINE void reduce_max(const F (&x)[Count], float* out) {
    static_assert(Count >= 1 && Count <= 4);
    if constexpr (Count > 1)
      S::reduce_max4(x[0], x[1 % Count], x[2 % Count], x[3 % Count], out);
    else
      out[0] = S::reduce_max(x[0]);
  }
  template <int Count>
  static LOWRANK_INLINE void reduce_add(const F (&x)[Count], float* out) {
    static_assert(Count >= 1 && Count <= 4);
    if constexpr (Count > 1)
      S::reduce_add4(x[0], x[1 % Count], x[2 % Count], x[3 % Count], out);
    else
      out[0] = S::reduce_add(x[0]);
  }

  // Both halves times factors [32].
  static LOWRANK_INLINE void scale_both(F& low, F& high, const float* factors) {
    low = S::mul(low, S::load(factors));
    high = S::mul(high, S::load(factors + S::kLanes));
  }
  // Puts `other` in the place of the keys that query i does not see, whose scales and values may be anything.
  template <bool Masked>
  LOWRANK_INLINE void hide_unseen(int32_t i, F& low, F& high, F other) const {
    if constexpr (Masked) {
      low = keep_visible(low, visible_[i], 0, other);
      high = keep_visible(high, visible_[i], S::kLanes, other);
    }
  }

  template <bool Masked, bool Scaled>
  LOWRANK_INLINE void load_scores(int32_t i, F& low, F& high) const {
    const float* scores = scores_ + static_cast<size_t>(i) * kPageTokens;
    const F scale = S::set1(score_scale_);
    low = S::mul(S::load(scores), scale);
    high = S::mul(S::load(scores + S::kLanes), scale);
    if constexpr (Scaled) scale_both(low, high, k_scale_);
    hide_unseen<Masked>(i, low, high, S::set1(kNoKeys));
  }

  // Leaves in low and high what the softmax sums.
  template <bool Masked, bool Scaled>
  LOWRANK_INLINE void store_weights(int32_t i, F& low, F& high) {
    if constexpr (!Scaled) return Products::store_weights(weights_, scores_, i, low, high);
    scale_both(low, high, v_scale_);
    hide_unseen<Masked>(i, low, high, S::zero());
    Products::store_weights(weights_, scores_, i, low, high);
    scale_both(low, high, v_inverse_);
    hide_unseen<Masked>(i, low, high, S::zero());
  }

  // Stores the weights times their values' scales. `sums` become NaN where one of these is not finite.
  template <int Count, bool Masked>
  LOWRANK_INLINE void scale_weights(int32_t i, F (&low)[Count], F (&high)[Count], F (&sums)[Count]) {
    F both[Count];
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) {
      scale_both(low[r], high[r], block_v_scale_);
      hide_unseen<Masked>(i + r, low[r], high[r], S::zero());
      sums[r] = S::fma(S::add(low[r], high[r]), S::zero(), sums[r]);
      both[r] = S::max(low[r], high[r]);
    }
    float largest[4];
    reduce_max(both, largest);
    for (int r = 0; r < Count; ++r) Products::store_weights(weights_, i + r, low[r], high[r], largest[r]);
  }

  void take_scales(const KvBlock& block) {
    k_scale_ = block.k_scale;
    for (int32_t j = 0; j < kPageTokens; ++j) {
      // Values that are all zero count in the softmax none the less.
      v_scale_[j] = block.v_scale[j] == 0.0f ? 1.0f : block.v_scale[j];
      v_inverse_[j] = 1.0f / v_scale_[j];
    }
  }

  // All queries that see a key of the block.
  void softmax_block() {
    if (Products::kTakesScales || k_scale_ != nullptr) return softmax_scaled_block<true>();
    if constexpr (!Products::kTakesScales) softmax_scaled_block<false>();
  }
  template <bool Scaled>
  LOWRANK_INLINE void softmax_scaled_block() {
    for (int32_t i = 0; i < queries_;) {
      int32_t count = 0;
      bool masked = false;
      for (; count < 4 && i + count < queries_; ++count) {
        const Range seen = visible_[i + count];
        if (seen.begin >= seen.end) break;
        masked |= seen.end - seen.begin < kPageTokens;
      }
      if (masked)
        softmax_queries_of<true, Scaled>(i, count);
      else
        softmax_queries_of<false, Scaled>(i, count);
      i += count > 0 ? count : 1;
    }
  }

  template <bool Masked, bool Scaled>
  LOWRANK_INLINE void softmax_queries_of(int32_t i, int32_t count) {
    switch (count) {
      case 4: return softmax_queries<4, Masked, Scaled>(i);
      case 3: return softmax_queries<3, Masked, Scaled>(i);
      case 2: return softmax_queries<2, Masked, Scaled>(i);
      case 1: return softmax_queries<1, Masked, Scaled>(i);
      default: return;  // it sees none
    }
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

  void store_output() const {
    for (int32_t i = 0; i < queries_; ++i) {
      float* out = output(tile_.m + i / tile_.heads, tile_.head + i % tile_.heads);
      const float* total = total_ + static_cast<size_t>(i) * stride_;
      const F sum = S::set1(total_sum_[i]);
      for (int32_t d = 0; d < args_.head_dim; d += S::kLanes) {
        const int32_t left = args_.head_dim - d;
        S::store_first(out + d, S::div(S::load(total + d), sum), lanes(left));
      }
    }
  }

  alignas(64) static constexpr float kOnes[kPageTokens] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                           1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const AttentionPagedArgs& args_;
  std::optional<BlockCursor<S>> near_, far_;  // of few rows: at the block that is read, and kBlocksAhead further
  const size_t stride_;  // of q_, o_ and total_: head_dim rounded up to 64, the rest zero
  const float score_scale_;
  QueryTile tile_{};
  int32_t queries_ = 0;
  const float* k_scale_ = nullptr;        // [32] of the block, of an int8 cache
  const float* block_v_scale_ = nullptr;  // likewise, where the products take them
  int32_t first_[kTileQueries];     // first key and the key behind the last that a query sees
  int32_t end_[kTileQueries];
  int32_t last_first_ = 0, first_end_ = 0;  // the last of the first keys, the first of the ends
  Range visible_[kTileQueries];             // first_ and end_ within the block
  Range any_{};                             // that some query sees
  bool all_visible_ = false;                // `visible_` holds whole blocks
  float largest_[kTileQueries];             // of the split
  float sum_[kTileQueries];
  float total_largest_[kTileQueries];
  float total_sum_[kTileQueries];
  typename Products::Queries q_;
  typename Products::Weights weights_;
  alignas(64) float o_[kTileQueryFloats];                    // [queries][stride] of the split
  alignas(64) float total_[kTileQueryFloats];                // [queries][stride]
  alignas(64) float scores_[kTileQueries * kPageTokens];     // [queries][32]
  alignas(64) float v_scale_[kPageTokens];  // of the block, of an int8 cache
  alignas(64) float v_inverse_[kPageTokens];
  PrefetchQueue lines_;
  StagedBlock<S> staged_;
  alignas(64) float buffer_[Products::kBufferFloats];
};

template <class S, class Products>
void attend_rows(const AttentionPagedArgs& args, int part, int parts) {
  using Tile = AttentionTile<S, Products>;
  Tile tile(args);
  PartTiles<S> own(args, Tile::largest_queries(args.head_dim), part, parts);
  tile.begin(own);
  for (; !own.ended(); own.advance()) tile.run(own);
}

template <class S>
void attend(const AttentionPagedArgs& args, int part, int parts) {
  if constexpr (S::kByteAttention)
    if (args.cache.format == KvFormat::kInt8 && kv_depth(KvFormat::kInt8, args.head_dim) == 4)
      return attend_rows<S, Int8Products<S>>(args, part, parts);
  if constexpr (S::kBFloat16Attention)
    if (args.cache.format != KvFormat::kFloat32) return attend_rows<S, DotProducts<S>>(args, part, parts);
  attend_rows<S, FloatProducts<S>>(args, part, parts);
}

}  // namespace lowrank::cpu
