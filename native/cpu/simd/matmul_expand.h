// The product of ops/matmul_expand.h, in tiles that stay in registers over the whole of K, for kernels of any
// instruction set. A kernel is an object on the stack of one call, with
//
//   kRows, kTiles     its largest tile: rows x (16 * kTiles) columns
//   kStreamRows       up to so many rows of the batch go through `stream` (0: it has none)
//   kBlockBytes       weights to go through with one tile of rows before the next (0: one panel of kTiles)
//   begin_rows(tile)  called before the tiles of other rows
//   tile(tile, ahead, sums)  float sums [rows][16 * tiles] of any rows <= kRows, tiles <= kTiles, int8 ones scaled; may ask for
//                     some of `ahead` now and then
//   stream(tile, sums)  sums [rows][16] of one tile of columns, for all rows at once
//
// Blocking: a panel of 16 * kTiles columns with all of K (18 KiB for K = 576 and 2 tiles in int8) is read
// from memory once, and from L1 or L2 for every further tile of rows; x is small beside it.
// A kernel that prepares its rows takes a block of panels that fits L2 instead. Few rows
// (decode) take the weights one tile of 16 columns at a time: strictly forwards, as they lie, each byte once.
#pragma once

#include "cpu/simd/exponential.h"
#include "cpu/simd/matmul_epilogue.h"
#include "cpu/simd/prefetch_queue.h"

namespace lowrank::cpu {

struct TileArgs {
  const PackedMatrix* w;
  const Activations* x;
  int32_t m;  // first row
  int32_t rows;
  int32_t n;      // first column, a multiple of 16
  int32_t tiles;  // columns / 16
  int32_t first_row;  // of the batch
  int32_t cursor;     // see row_run
};

// Queues the lines of y that the tile will write: a y larger than L2 would otherwise stall the stores of every tile
// at once (15 % of the time for 512 x 3,072).
static LOWRANK_INLINE void queue_output(const MatmulExpandArgs& args, const TileArgs& tile, PrefetchQueue& queue) {
  const float* row = args.y + static_cast<size_t>(tile.m) * static_cast<size_t>(args.y_stride) + tile.n;
  for (int32_t i = 0; i < tile.rows; ++i, row += args.y_stride)
    queue.add_output(row, static_cast<size_t>(tile.tiles) * kTileRows * sizeof(float));
}

// Queues the factor's columns [n, n + columns) of the product.
static LOWRANK_INLINE void queue_columns(const PackedFactor& b, int32_t n, int32_t columns, PrefetchQueue& queue) {
  constexpr size_t kMost = 4096;  // bytes: the hardware follows longer ones
  if (n < 0 || n >= b.dimension) return;
  const size_t column_bytes = static_cast<size_t>(factor_b_ranks(b)) * element_bytes(b.dtype);
  const int32_t rest = round_up(b.dimension, kTileRows) - n;
  const size_t wanted = static_cast<size_t>(columns < rest ? columns : rest) * column_bytes;
  queue.add(b.data.as<uint8_t>() + static_cast<size_t>(n) * column_bytes, wanted < kMost ? wanted : kMost);
}

// Queues what the tile's epilogue will read: the outlier columns, and the B of the adapters whose rows begin in the tile. Later
// tiles of rows find them in the cache.
static LOWRANK_INLINE void queue_factors(const MatmulExpandArgs& args, const TileArgs& tile, PrefetchQueue& queue) {
  const int32_t columns = tile.tiles * kTileRows;
  if (tile.w->outlier_columns != nullptr && tile.m == args.row_begin)
    queue_columns(static_cast<const PackedFactor&>(*tile.w->outlier_columns), tile.n, columns, queue);
  const AdapterSegments& adapters = args.adapters;
  for (int32_t i = tile.cursor; i < adapters.count && adapters.rows[i].row_begin < tile.m + tile.rows; ++i) {
    if (adapters.rows[i].row_begin < tile.m && tile.m > args.row_begin) continue;
    for (int32_t t = 0; t < adapters.rows[i].expand_count; ++t) {
      const ExpandTerm& term = adapters.rows[i].expand[t];
      queue_columns(static_cast<const PackedFactor&>(*term.b), tile.n - term.n_begin, columns, queue);
    }
  }
}

// The tiles of one part, in order: of a block of columns, those of the first rows, then those of the next.
class TileWalk {
 public:
  TileWalk(const MatmulExpandArgs& args, Range columns, int32_t tile_rows, int32_t tile_columns, int64_t block_columns)
      : args_(args), columns_(columns), tile_rows_(tile_rows), tile_columns_(tile_columns), block_columns_(block_columns),
        m_(args.row_begin), n_(columns.begin) {
    start_block(columns.begin);
  }

  bool ended() const { return n_ >= columns_.end || args_.row_begin >= args_.row_end; }

  TileArgs tile() const {
    const int32_t n_end = tile_columns_ < block_end_ - n_ ? n_ + tile_columns_ : block_end_;
    return {static_cast<const PackedMatrix*>(args_.w), &args_.x,         m_,     rows_end() - m_, n_,
            (n_end - n_ + kTileRows - 1) / kTileRows,  args_.row_begin, cursor_};
  }

  void advance() {
    n_ += tile_columns_;
    if (n_ < block_end_) return;
    m_ = rows_end();
    if (m_ < args_.row_end) {
      while (cursor_ < args_.adapters.count && args_.adapters.rows[cursor_].row_end <= m_) ++cursor_;
      n_ = block_;
    } else {
      m_ = args_.row_begin;
      cursor_ = 0;
      start_block(block_end_);
    }
  }

 private:
  int32_t rows_end() const { return tile_rows_ < args_.row_end - m_ ? m_ + tile_rows_ : args_.row_end; }
  void start_block(int32_t n) {
    block_ = n_ = n;
    block_end_ = block_columns_ < columns_.end - n ? n + static_cast<int32_t>(block_columns_) : columns_.end;
  }

  const MatmulExpandArgs& args_;
  const Range columns_;
  const int32_t tile_rows_, tile_columns_;
  const int64_t block_columns_;
  int32_t m_, n_;
  int32_t block_ = 0, block_end_ = 0;
  int32_t cursor_ = 0;  // of the adapters' segments
};

// y = cap tanh(y / cap) for a part's columns of the call's rows.
template <class S>
void cap_columns(const MatmulExpandArgs& args, Range columns) {
  const auto inverse = S::set1(1.0f / args.soft_cap), cap = S::set1(args.soft_cap);
  for (int32_t m = args.row_begin; m < args.row_end; ++m) {
    float* row = args.y + static_cast<size_t>(m) * static_cast<size_t>(args.y_stride);
    for (int32_t n = columns.begin; n < columns.end; n += S::kLanes) {
      const int count = columns.end - n < S::kLanes ? columns.end - n : S::kLanes;
      S::store_first(row + n, capped_tanh<S>(S::mul(S::load_first(row + n, count), inverse), cap), count);
    }
  }
}

template <class S, class Kernel>
void multiply(const MatmulExpandArgs& args, int part, int parts) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  const bool streams = args.row_end - args.row_begin <= Kernel::kStreamRows;
  const int32_t tile_rows = streams ? Kernel::kStreamRows : Kernel::kRows;
  const int32_t tile_columns = streams ? kTileRows : Kernel::kTiles * kTileRows;
  const size_t panel_bytes = tile_bytes(w.scheme, w.cols) * static_cast<size_t>(tile_columns / kTileRows);
  const size_t block_panels = panel_bytes < Kernel::kBlockBytes ? Kernel::kBlockBytes / panel_bytes : 1;
  constexpr int kTileSums = Kernel::kRows * Kernel::kTiles > Kernel::kStreamRows
                                ? Kernel::kRows * Kernel::kTiles
                                : Kernel::kStreamRows;
  Kernel kernel;
  alignas(64) float sums[kTileSums * kTileRows];
  PrefetchQueue ahead;
  const Range columns = split(w.rows, tile_columns, part, parts);
  TileWalk walk(args, columns, tile_rows, tile_columns, static_cast<int64_t>(block_panels) * tile_columns);
  for (int32_t rows_begun = -1; !walk.ended();) {
    const TileArgs tile = walk.tile();
    walk.advance();
    if (streams || rows_begun < 0) queue_factors(args, tile, ahead);
    ahead.prefetch_rest();
    if (tile.m != rows_begun) kernel.begin_rows(tile);
    rows_begun = tile.m;
    if (streams) {
      kernel.stream(tile, sums);
    } else {
      queue_output(args, tile, ahead);
      if (!walk.ended()) queue_factors(args, walk.tile(), ahead);
      kernel.tile(tile, ahead, sums);
    }
    finish_tile<S>(args, tile.cursor, tile.m, tile.m + tile.rows, tile.n, tile.tiles, sums);
  }
  if (args.soft_cap != 0.0f) cap_columns<S>(args, columns);
}

}  // namespace lowrank::cpu
