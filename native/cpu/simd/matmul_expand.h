// The product of ops/matmul_expand.h, in tiles that stay in registers over the whole of K, for kernels of any
// instruction set. A kernel offers
//   Sum                  int32_t or float
//   kRows, kTiles        its largest tile: rows x (16 * kTiles) columns
//   kStreamRows          up to so many rows of the batch go through `stream` (0: it has none)
//   tile(...)            sums [rows][16 * tiles] of any rows <= kRows, tiles <= kTiles
//   stream(...)          sums [rows][16] of one tile of columns, for all rows at once
//
// Blocking: a panel of 16 * kTiles columns with all of K (27 KiB for K = 576, 72 KiB for K = 1,536 in int8) is read
// from memory once and from the first or second cache for every further tile of rows; x is small beside it. Few rows
// (decode) take the weights one tile of 16 columns at a time: strictly forwards, as they lie, each byte once.
#pragma once

#include "cpu/simd/matmul_epilogue.h"

namespace lowrank::cpu {

struct TileArgs {
  const PackedMatrix* w;
  const Activations* x;
  int32_t m;      // first row
  int32_t rows;
  int32_t n;      // first column, a multiple of 16
  int32_t tiles;  // columns / 16
};

// Asks for the lines of y that the tile will write, while its sums are made: a y larger than the second cache would
// otherwise stall the stores of every tile at once (15 % of the time for 512 x 3,072).
static LOWRANK_INLINE void prefetch_output(const MatmulExpandArgs& args, const TileArgs& tile) {
#if defined(__GNUC__)
  const float* row = args.y + static_cast<size_t>(tile.m) * static_cast<size_t>(args.y_stride) + tile.n;
  for (int32_t i = 0; i < tile.rows; ++i, row += args.y_stride)
    for (int32_t t = 0; t < tile.tiles; ++t) __builtin_prefetch(row + t * kTileRows, 1);
#else
  (void)args, (void)tile;
#endif
}

template <class S, class Kernel>
void multiply(const MatmulExpandArgs& args, Range columns) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  const int32_t rows = args.row_end - args.row_begin;
  const bool streams = rows <= Kernel::kStreamRows;
  const int32_t tile_rows = streams ? Kernel::kStreamRows : Kernel::kRows;
  const int32_t tile_columns = streams ? kTileRows : Kernel::kTiles * kTileRows;
  constexpr int kTileSums = Kernel::kRows * Kernel::kTiles > Kernel::kStreamRows ? Kernel::kRows * Kernel::kTiles
                                                                                  : Kernel::kStreamRows;
  alignas(64) typename Kernel::Sum sums[kTileSums * kTileRows];
  for (int32_t n = columns.begin; n < columns.end; n += tile_columns) {
    const int32_t end = n + tile_columns < columns.end ? n + tile_columns : columns.end;
    const int32_t tiles = (end - n + kTileRows - 1) / kTileRows;
    int32_t cursor = 0;
    for (int32_t m = args.row_begin; m < args.row_end; m += tile_rows) {
      const int32_t m_end = m + tile_rows < args.row_end ? m + tile_rows : args.row_end;
      const TileArgs tile{&w, &args.x, m, m_end - m, n, tiles};
      if (streams) {
        Kernel::stream(tile, sums);
      } else {
        prefetch_output(args, tile);
        Kernel::tile(tile, sums);
      }
      finish_tile<S>(args, cursor, m, m_end, n, tiles, sums);
    }
  }
}

}  // namespace lowrank::cpu
