// The product of ops/matmul_expand.h, in tiles that stay in registers over the whole of K, for kernels of any
// instruction set. A kernel is an object on the stack of one call, with
//
//   kWeightBytes      of one element of the weights
//   kRows, kTiles     its largest tile: rows x (16 * kTiles) columns
//   kStreamRows       up to so many rows of the batch go through `stream` (0: it has none)
//   kBlockBytes       weights to go through with one tile of rows before the next (0: one panel of kTiles)
//   begin_rows(tile)  called before the tiles of new rows
//   tile(tile, sums)  float sums [rows][16 * tiles] of any rows <= kRows, tiles <= kTiles, int8 ones scaled
//   stream(tile, sums)  sums [rows][16] of one tile of columns, for all rows at once
//
// Blocking: a panel of 16 * kTiles columns with all of K (27 KiB for K = 576 and 3 tiles in int8) is read
// from memory once, and from the first or second cache for every further tile of rows; x is small beside it.
// A kernel that prepares its rows takes a block of panels that fits the second cache instead. Few rows
// (decode) take the weights one tile of 16 columns at a time: strictly forwards, as they lie, each byte once.
#pragma once

#include "cpu/simd/matmul_epilogue.h"

namespace lowrank::cpu {

struct TileArgs {
  const PackedMatrix* w;
  const Activations* x;
  int32_t m;  // first row
  int32_t rows;
  int32_t n;      // first column, a multiple of 16
  int32_t tiles;  // columns / 16
  int32_t first_row;  // of the batch
};

// Asks for the lines of y that the tile will write, while its sums are made: a y larger than the second cache
// would otherwise stall the stores of every tile at once (15 % of the time for 512 x 3,072).
static LOWRANK_INLINE void prefetch_output(const MatmulExpandArgs& args, const TileArgs& tile) {
#if defined(__GNUC__)
  const float* row = args.y + static_cast<size_t>(tile.m) * static_cast<size_t>(args.y_stride) + tile.n;
  for (int32_t i = 0; i < tile.rows; ++i, row += args.y_stride)
    for (int32_t t = 0; t < tile.tiles; ++t) __builtin_prefetch(row + t * kTileRows, 1);
#else
  (void)args, (void)tile;
#endif
}

// Asks for the B of the adapters whose rows begin in the tile, at its columns: the epilogue reads it once the sums are
// made. Later tiles of rows find it in the cache. cursor: see row_run.
static LOWRANK_INLINE void prefetch_expand(const MatmulExpandArgs& args, int32_t cursor, const TileArgs& tile) {
#if defined(__GNUC__)
  constexpr size_t kMost = 4096;  // bytes of a term: the hardware follows longer ones
  const AdapterSegments& adapters = args.adapters;
  for (int32_t i = cursor; i < adapters.count && adapters.rows[i].row_begin < tile.m + tile.rows; ++i) {
    if (adapters.rows[i].row_begin < tile.m && tile.m > args.row_begin) continue;
    for (int32_t t = 0; t < adapters.rows[i].expand_count; ++t) {
      const ExpandTerm& term = adapters.rows[i].expand[t];
      const auto& b = static_cast<const PackedFactor&>(*term.b);
      const int32_t local = tile.n - term.n_begin;
      if (local < 0 || local >= b.dimension) continue;
      const size_t column_bytes = static_cast<size_t>(b.rank) * element_bytes(b.dtype);
      const uint8_t* const first = b.data.as<uint8_t>() + static_cast<size_t>(local) * column_bytes;
      const int32_t rest = round_up(b.dimension, kTileRows) - local;
      const size_t wanted = static_cast<size_t>(tile.tiles * kTileRows < rest ? tile.tiles * kTileRows : rest) * column_bytes;
      for (size_t byte = 0; byte < wanted && byte < kMost; byte += 64) __builtin_prefetch(first + byte);
    }
  }
#else
  (void)args, (void)cursor, (void)tile;
#endif
}

template <class S, class Kernel>
void multiply(const MatmulExpandArgs& args, int part, int parts) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  const bool streams = args.row_end - args.row_begin <= Kernel::kStreamRows;
  const int32_t tile_rows = streams ? Kernel::kStreamRows : Kernel::kRows;
  const int32_t tile_columns = streams ? kTileRows : Kernel::kTiles * kTileRows;
  const Range columns = split(w.rows, tile_columns, part, parts);
  const size_t panel_bytes =
      static_cast<size_t>(w.padded_cols()) * static_cast<size_t>(tile_columns) * Kernel::kWeightBytes;
  const size_t block_panels = panel_bytes < Kernel::kBlockBytes ? Kernel::kBlockBytes / panel_bytes : 1;
  const int64_t block_columns = static_cast<int64_t>(block_panels) * tile_columns;
  constexpr int kTileSums = Kernel::kRows * Kernel::kTiles > Kernel::kStreamRows
                                ? Kernel::kRows * Kernel::kTiles
                                : Kernel::kStreamRows;
  Kernel kernel;
  alignas(64) float sums[kTileSums * kTileRows];
  for (int32_t block = columns.begin; block < columns.end;) {
    const int32_t block_end =
        block_columns < columns.end - block ? block + static_cast<int32_t>(block_columns) : columns.end;
    int32_t cursor = 0;
    for (int32_t m = args.row_begin; m < args.row_end; m += tile_rows) {
      const int32_t m_end = m + tile_rows < args.row_end ? m + tile_rows : args.row_end;
      TileArgs tile{&w, &args.x, m, m_end - m, block, 0, args.row_begin};
      kernel.begin_rows(tile);
      for (; tile.n < block_end; tile.n += tile_columns) {
        const int32_t n_end = tile.n + tile_columns < block_end ? tile.n + tile_columns : block_end;
        tile.tiles = (n_end - tile.n + kTileRows - 1) / kTileRows;
        prefetch_expand(args, cursor, tile);
        if (streams) {
          kernel.stream(tile, sums);
        } else {
          prefetch_output(args, tile);
          kernel.tile(tile, sums);
        }
        finish_tile<S>(args, cursor, m, m_end, tile.n, tile.tiles, sums);
      }
      // The segments of rows before m_end are done with.
      while (cursor < args.adapters.count && args.adapters.rows[cursor].row_end <= m_end) ++cursor;
    }
    block = block_end;
  }
}

}  // namespace lowrank::cpu
