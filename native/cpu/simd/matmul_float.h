// acc[m, n] = sum_k x[m, k] * w[n, k] in float32, k ascending, one fused multiply-add a step, one accumulator
// an element, whatever the tile's size: the order of a row's sums does not depend on its batch. For the
// reference modes (float32 weights, int8 weights with float32 input) and for matrices held in bfloat16.
//
// Layout: weights [N/16][K/depth][16][depth] (layout.h), so 64 bytes are 16 columns x depth of K; bytes and
// halves are widened in registers. The sum of int8 weights is scaled by sw in the epilogue.
#pragma once

#include "cpu/simd/matmul_expand.h"

namespace lowrank::cpu {

struct Float32Weights {
  static constexpr int kDepth = 1;
  template <class S, int D>
  static LOWRANK_INLINE typename S::F32 widen(typename S::I32 raw) {
    return S::from_bits(raw);
  }
};

struct BFloat16Weights {
  static constexpr int kDepth = 2;
  template <class S, int D>
  static LOWRANK_INLINE typename S::F32 widen(typename S::I32 raw) {
    if constexpr (D == 0) return S::from_bits(S::template int_shift_left<16>(raw));
    return S::from_bits(S::int_and(raw, S::int_set1(static_cast<int32_t>(0xffff0000u))));
  }
};

struct Int8Weights {
  static constexpr int kDepth = 4;
  template <class S, int D>
  static LOWRANK_INLINE typename S::F32 widen(typename S::I32 raw) {
    // w + 128 with its top bit flipped is w in two's complement.
    const auto top = S::template int_shift_left<24 - 8 * D>(raw);
    const auto flipped = S::int_xor(top, S::int_set1(static_cast<int32_t>(0x80000000u)));
    return S::to_float(S::template int_shift_right<24>(flipped));
  }
};

template <class S, class Weights, int Rows, int Tiles>
struct FloatTile {
  using F = typename S::F32;
  F acc[Rows][Tiles];

  template <int D>
  LOWRANK_INLINE void step(const uint8_t* w, size_t tile_bytes, const float* x, size_t x_stride) {
    if constexpr (D < Weights::kDepth) {
      F weights[Tiles];
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t)
        weights[t] = Weights::template widen<S, D>(S::int_load(w + static_cast<size_t>(t) * tile_bytes));
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const F input = S::set1(x[static_cast<size_t>(r) * x_stride + D]);
#pragma GCC unroll 4
        for (int t = 0; t < Tiles; ++t) acc[r][t] = S::fma(input, weights[t], acc[r][t]);
      }
      step<D + 1>(w, tile_bytes, x, x_stride);
    }
  }

  static void compute(const TileArgs& args, float* sums) {
    FloatTile tile;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) tile.acc[r][t] = S::zero();
    const size_t tile_bytes = lowrank::cpu::tile_bytes(args.w->scheme, args.w->cols);
    const uint8_t* w = args.w->data.as<uint8_t>() + static_cast<size_t>(args.n / kTileRows) * tile_bytes;
    const auto x_stride = static_cast<size_t>(args.x->stride);
    const float* x = args.x->values + static_cast<size_t>(args.m) * x_stride;
    for (const uint8_t* const end = w + tile_bytes; w != end;
         w += kTileRows * sizeof(float), x += Weights::kDepth)
      tile.template step<0>(w, tile_bytes, x, x_stride);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) S::store(sums + (r * Tiles + t) * kTileRows, tile.acc[r][t]);
  }
};

template <class S, class Weights>
struct FloatKernel {
  static constexpr int kRows = S::kMatmulRows;
  static constexpr int kTiles = S::kMatmulTiles;
  static constexpr int kStreamRows = 0;
  static constexpr size_t kBlockBytes = 0;

  void begin_rows(const TileArgs&) {}
  void stream(const TileArgs&, float*) {}

  // Finds the instantiation for args.rows x args.tiles.
  template <int Rows = kRows, int Tiles = kTiles>
  LOWRANK_INLINE void tile(const TileArgs& args, PrefetchQueue& ahead, float* sums) {
    if constexpr (Tiles > 1)
      if (args.tiles < Tiles) return tile<Rows, Tiles - 1>(args, ahead, sums);
    if constexpr (Rows > 1)
      if (args.rows < Rows) return tile<Rows - 1, Tiles>(args, ahead, sums);
    FloatTile<S, Weights, Rows, Tiles>::compute(args, sums);
  }
};

}  // namespace lowrank::cpu
