// Which tiles of queries a part of ops/attention_paged.h takes, and which blocks it reads next.
//
// Tiles follow each other by sequence, rows, kv head. Each part takes as many neighbouring ones as make its share of the work
// (queries times blocks), so that it reads memory in long runs. Where parts can share a tile (AttentionShare), the one at the
// border between two is cut where a split of its keys begins, and the part that is done last merges the splits.
//
// Classes are templates over the instruction set, so that each has its own copy: see instruction_set.h.
#pragma once

#include <algorithm>

#include "cpu/simd/attention_block.h"

namespace lowrank::cpu {

inline constexpr int32_t kSplitPages = kAttentionSplit / kPageTokens;

// Consecutive rows of one sequence times heads of one kv head.
struct QueryTile {
  int32_t m, rows;
  int32_t kv_head;
  int32_t head, heads;
  Range pages;  // that its rows see, of their sequence

  int32_t queries() const { return rows * heads; }
  Range splits() const { return {pages.begin / kSplitPages, (pages.end + kSplitPages - 1) / kSplitPages}; }
  Range pages_of(int32_t split) const {
    return {std::max(pages.begin, split * kSplitPages), std::min(pages.end, (split + 1) * kSplitPages)};
  }
};

// All tiles of a call, in order.
template <class S>
class QueryTiles {
 public:
  // Of at most so many queries each.
  QueryTiles(const AttentionPagedArgs& args, int32_t queries)
      : args_(&args), group_(args.heads / args.kv_heads), tile_heads_(std::min(group_, queries)), tile_rows_(queries / tile_heads_) {
    start_rows(0);
  }

  bool ended() const { return tile_.m >= args_->rows; }
  const QueryTile& tile() const { return tile_; }
  int64_t work() const { return int64_t{tile_.queries()} * (tile_.pages.end - tile_.pages.begin); }

  void advance() {
    const int32_t head = tile_.head + tile_.heads;
    if (head < (tile_.kv_head + 1) * group_) return start_heads(head);
    if (++tile_.kv_head < args_->kv_heads) return start_heads(tile_.kv_head * group_);
    start_rows(tile_.m + tile_.rows);
  }

 private:
  void start_rows(int32_t m) {
    tile_.m = m;
    if (m >= args_->rows) return;
    if (m == sequence_end_)
      while (++sequence_end_ < args_->rows && args_->block_tables[sequence_end_] == args_->block_tables[m]) {}
    // Tiles of one size: a small one at the end would read all keys for few queries.
    const int32_t tiles = (sequence_end_ - m + tile_rows_ - 1) / tile_rows_;
    tile_.rows = (sequence_end_ - m + tiles - 1) / tiles;
    int32_t begin = first_key(args_->positions[m], args_->window), end = args_->positions[m] + 1;
    for (int32_t i = m + 1; i < m + tile_.rows; ++i) {
      begin = std::min(begin, first_key(args_->positions[i], args_->window));
      end = std::max(end, args_->positions[i] + 1);
    }
    tile_.pages = {begin / kPageTokens, (end + kPageTokens - 1) / kPageTokens};
    tile_.kv_head = 0;
    start_heads(0);
  }
  void start_heads(int32_t head) {
    tile_.head = head;
    tile_.heads = std::min(tile_heads_, (tile_.kv_head + 1) * group_ - head);
  }

  const AttentionPagedArgs* args_;
  int32_t group_, tile_heads_, tile_rows_;
  int32_t sequence_end_ = 0;
  QueryTile tile_{};
};

// One part's tiles, or the splits of them that are its own.
template <class S>
class PartTiles {
 public:
  PartTiles(const AttentionPagedArgs& args, int32_t queries, int part, int parts)
      : tiles_(args, queries), share_(&args.share), part_(part), parts_(parts) {
    for (QueryTiles<S> all = tiles_; !all.ended(); all.advance()) total_ += all.work();
    find_own();
  }

  bool ended() const { return tiles_.ended(); }
  const QueryTile& tile() const { return tiles_.tile(); }
  Range splits() const { return own_; }
  // Whether other parts have splits of the tile, too; which part has the first of them; and how many do.
  bool shared() const { return sharers_ > 1; }
  int first_part() const { return first_part_; }
  uint32_t sharers() const { return sharers_; }

  void advance() {
    before_ += tiles_.work();
    tiles_.advance();
    find_own();
  }

 private:
  // The part that has what lies in the middle of [work, work + width).
  int owner(int64_t work, int64_t width) const {
    const int64_t part = (2 * work + width) * parts_ / (2 * total_);
    return static_cast<int>(std::min<int64_t>(part, parts_ - 1));
  }

  void find_own() {
    for (; !tiles_.ended(); before_ += tiles_.work(), tiles_.advance()) {
      const QueryTile& tile = tiles_.tile();
      const Range splits = tile.splits();
      sharers_ = 1;
      if (parts_ > 1 && splits.end - splits.begin > 1 && splits.end - splits.begin <= share_->splits &&
          tile.queries() <= share_->queries) {
        if (find_splits(tile, splits)) return;
      } else if (owner(before_, tiles_.work()) == part_) {
        own_ = splits;
        return;
      }
    }
  }

  // Whether some of the tile's splits are this part's.
  bool find_splits(const QueryTile& tile, Range splits) {
    own_ = {splits.end, splits.end};
    sharers_ = 0;
    int last = -1;
    int64_t work = before_;
    for (int32_t s = splits.begin; s < splits.end; ++s) {
      const Range pages = tile.pages_of(s);
      const int64_t width = int64_t{tile.queries()} * (pages.end - pages.begin);
      const int of = owner(work, width);
      work += width;
      if (s == splits.begin) first_part_ = of;
      if (of != last) ++sharers_;
      last = of;
      if (of != part_) continue;
      own_ = {std::min(own_.begin, s), s + 1};
    }
    return own_.begin < own_.end;
  }

  QueryTiles<S> tiles_;
  const AttentionShare* share_;
  int part_, parts_;
  int64_t total_ = 0;
  int64_t before_ = 0;  // the work of the tiles before this one
  Range own_{};
  int first_part_ = 0;
  uint32_t sharers_ = 1;
};

// The blocks of one part's tiles, in the order in which they are read.
template <class S>
class BlockCursor {
 public:
  explicit BlockCursor(const PartTiles<S>& tiles) : tiles_(tiles) { start_tile(); }

  bool ended() const { return tiles_.ended(); }
  KvBlock block(const AttentionPagedArgs& args) const {
    const QueryTile& tile = tiles_.tile();
    return {args, args.block_tables[tile.m][page_], tile.kv_head};
  }
  void advance() {
    if (++page_ < end_) return;
    tiles_.advance();
    start_tile();
  }

 private:
  void start_tile() {
    if (tiles_.ended()) return;
    page_ = tiles_.tile().pages_of(tiles_.splits().begin).begin;
    end_ = tiles_.tile().pages_of(tiles_.splits().end - 1).end;
  }

  PartTiles<S> tiles_;
  int32_t page_ = 0, end_ = 0;
};

}  // namespace lowrank::cpu
