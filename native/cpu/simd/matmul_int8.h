// acc[m, n] = sum of q[m, k] * w[n, k] over a scale group in int32, by vpdpbusd: each of its lanes adds four products
// of an unsigned and a signed byte, and nothing saturates. The unsigned side is the weights, stored as w + 128; so
//   acc = sum q (w + 128) - 128 sum q,
// and the accumulators start at the last term. At the group's end they are scaled and added to float sums.
//
// They start at the bits of the float 1.5 * 2^23 besides, whose last place is 1. As the sum of a group is less than 2^22, the
// accumulator's bits are then the float 1.5 * 2^23 + acc, and
//   fma(sw, 1.5 * 2^23 + acc, -sw * 1.5 * 2^23)  is  sw * acc,
// rounded once as there, for the last term is exact (sw is a bfloat16): a conversion less on the pipes of vpdpbusd.
//
// Layout: weights [N/16][K/4][16][4] uint8 (layout.h): 64 consecutive bytes are 16 columns x 4 of K. Four
// activations are broadcast to all lanes as one dword.
//
// Prefill: S::kDotRows rows x 16 * S::kDotTiles columns at a time. With 32 registers of 512 bits that is 6 x 32: 12
// accumulators, 12 sums, 2 vectors of weights and the broadcast, and every 12 vpdpbusd take 2 + 6 loads. A panel of 32 columns
// (18 KiB for K = 576) leaves room in L1 for what the epilogue reads; with 4 x 48, as fast by itself, an
// adapter cost 1 % more. With 16 registers of 256 bits it is 6 x 16: 12 accumulators, two halves of the weights and the
// broadcast; the sums wait in memory for the group's end.
//
// Decode: up to 6 rows x 16 columns, one vector of weights at a time, strictly forwards. The hardware follows
// such a stream by itself: asking for lines ahead of it, at any distance from 0.5 to 16 KiB, measured slower
// on Zen 4 for one row. 5 rows and more take so long with a line that the hardware loses the stream: there, asking gained
// 8 %. From 7 rows on, tiles are faster.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/simd/matmul_expand.h"

namespace lowrank::cpu {

// A kernel for matmul_expand.h. S has dot_bytes(acc, weights, activations), kDotRows and kDotTiles.
template <class S>
class Int8DotKernel {
 public:
  static constexpr int kRows = 2 * S::kDotRows;
  static constexpr int kTiles = S::kDotTiles;
  static constexpr int kStreamRows = 6;
  static constexpr size_t kBlockBytes = 0;

  void begin_rows(const TileArgs&) {}
  static void tile(const TileArgs& args, PrefetchQueue& ahead, float* sums) {
    kFunctions.tile[args.rows - 1][args.tiles - 1](operands(args, &ahead), sums);
  }
  static void stream(const TileArgs& args, float* sums) { kFunctions.stream[args.rows - 1](operands(args, nullptr), sums); }

 private:
  using F = typename S::F32;
  using I = typename S::I32;

  // The operands of one tile. The first row's and the first column's come first.
  struct Operands {
    const int8_t* x;
    size_t x_stride;
    const float* x_scale;         // [rows][groups]
    const int32_t* compensation;  // [rows][groups]
    const uint8_t* w;
    const uint16_t* w_scale;  // [tiles][groups][16] bfloat16
    size_t cols;              // padded to a multiple of 64
    size_t groups;
    size_t group_bytes;  // of weights in one tile
    // Weights to prefetch meanwhile, a line for each four of K; from ahead_end on, nothing is left to prefetch.
    const uint8_t* ahead;
    const uint8_t* ahead_end;
    // What else to prefetch, `queue_share` lines with each group.
    PrefetchQueue* queue;
    size_t queue_share;
  };

  static constexpr size_t kStreamAhead = 8192;  // bytes
  static constexpr int kHardwarePrefetchRows = 4;       // up to here the hardware prefetches the stream

  static constexpr float kBias = 12582912;  // 1.5 * 2^23
  static constexpr int32_t kBiasBits = 0x4b400000;
  static_assert(kMaxScaleGroup * 128 * 127 < 1 << 22);

  static LOWRANK_INLINE I broadcast_four(const int8_t* q) {
    int32_t four;
    std::memcpy(&four, q, sizeof four);
    return S::int_set1(four);
  }

  static LOWRANK_INLINE I begin_sum(const Operands& in, int r, size_t g) {
    return S::int_add(S::int_set1(in.compensation[static_cast<size_t>(r) * in.groups + g]), S::int_set1(kBiasBits));
  }

  // The scales of one group and 16 columns.
  struct GroupScale {
    F scale, biased;  // -scale * kBias

    LOWRANK_INLINE GroupScale(const Operands& in, size_t tile, size_t g)
        : scale(S::load_bfloat16(in.w_scale + (tile * in.groups + g) * kTileRows)), biased(S::mul(scale, S::set1(-kBias))) {}

    // sum + x_scale * (w_scale * acc) of row r.
    LOWRANK_INLINE F add(const Operands& in, int r, size_t g, I acc, F sum) const {
      const float x_scale = in.x_scale[static_cast<size_t>(r) * in.groups + g];
      return S::fma(S::set1(x_scale), S::fma(scale, S::from_bits(acc), biased), sum);
    }
  };

  // The bytes of group g in one tile: the last group may be shorter.
  static LOWRANK_INLINE size_t group_bytes(const Operands& in, size_t g) {
    const size_t rest = in.cols * kTileRows - g * in.group_bytes;
    return rest < in.group_bytes ? rest : in.group_bytes;
  }

  template <int Rows, int Tiles>
  static void compute_tile(const Operands& in, float* out) {
    const size_t tile_bytes = in.cols * kTileRows;
    F sum[Rows][Tiles];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) sum[r][t] = S::zero();
    const int8_t* x = in.x;
    const uint8_t* w = in.w;
    const uint8_t* ahead = in.ahead < in.ahead_end ? in.ahead : in.w;  // its own are in the cache
    for (size_t g = 0; g < in.groups; ++g) {
      in.queue->prefetch_next(in.queue_share);
      I acc[Rows][Tiles];
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int t = 0; t < Tiles; ++t) acc[r][t] = begin_sum(in, r, g);
      const uint8_t* const end = w + group_bytes(in, g);
      for (; w != end; w += 64, x += kTileDepth, ahead += 64) {
        prefetch_far(ahead);
        I weights[Tiles];
#pragma GCC unroll 4
        for (int t = 0; t < Tiles; ++t) weights[t] = S::int_load(w + static_cast<size_t>(t) * tile_bytes);
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) {
          const I four = broadcast_four(x + static_cast<size_t>(r) * in.x_stride);
#pragma GCC unroll 4
          for (int t = 0; t < Tiles; ++t) S::dot_bytes(acc[r][t], weights[t], four);
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) {
        const GroupScale scale(in, static_cast<size_t>(t), g);
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) sum[r][t] = scale.add(in, r, g, acc[r][t], sum[r][t]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) S::store(out + (r * Tiles + t) * kTileRows, sum[r][t]);
  }

  // One tile of 16 columns for few rows. Separate chains over k hide the latency of vpdpbusd; their sum is
  // exact.
  template <int Rows>
  static void stream_tile(const Operands& in, float* out) {
    constexpr int kChains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
    static_assert(kActivationAlignment % (kTileDepth * kChains) == 0);
    F sum[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) sum[r] = S::zero();
    const int8_t* x = in.x;
    const uint8_t* w = in.w;
    for (size_t g = 0; g < in.groups; ++g) {
      I acc[Rows][kChains];
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < kChains; ++c) acc[r][c] = c == 0 ? begin_sum(in, r, g) : S::int_zero();
      const uint8_t* const end = w + group_bytes(in, g);
      for (; w != end; w += 64 * kChains, x += kTileDepth * kChains) {
        if constexpr (Rows > kHardwarePrefetchRows) prefetch_far(w, kStreamAhead);
#pragma GCC unroll 4
        for (int c = 0; c < kChains; ++c) {
          const I weights = S::int_load(w + 64 * c);
#pragma GCC unroll 16
          for (int r = 0; r < Rows; ++r)
            S::dot_bytes(acc[r][c], weights, broadcast_four(x + static_cast<size_t>(r) * in.x_stride + kTileDepth * c));
        }
      }
      const GroupScale scale(in, 0, g);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        I total = acc[r][0];
#pragma GCC unroll 4
        for (int c = 1; c < kChains; ++c) total = S::int_add(total, acc[r][c]);
        sum[r] = scale.add(in, r, g, total, sum[r]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) S::store(out + r * kTileRows, sum[r]);
  }

  // More rows than the registers hold: one block after the other, which read the weights from L1.
  template <int Rows, int Tiles>
  static void compute_rows(const Operands& in, float* out) {
    if constexpr (Rows <= S::kDotRows) {
      compute_tile<Rows, Tiles>(in, out);
    } else {
      compute_tile<S::kDotRows, Tiles>(in, out);
      Operands rest = in;
      rest.x += S::kDotRows * in.x_stride;
      rest.x_scale += S::kDotRows * in.groups;
      rest.compensation += S::kDotRows * in.groups;
      rest.ahead += in.cols * kTileRows;
      compute_rows<Rows - S::kDotRows, Tiles>(rest, out + S::kDotRows * Tiles * kTileRows);
    }
  }

  using TileFunction = void (*)(const Operands& in, float* out);
  struct TileFunctions {
    TileFunction tile[kRows][kTiles];
    TileFunction stream[kStreamRows];
  };
  template <int Rows, int... Tiles>
  static constexpr void set_tiles(TileFunction* functions, std::integer_sequence<int, Tiles...>) {
    ((functions[Tiles] = compute_rows<Rows, Tiles + 1>), ...);
  }
  template <int... Rows, int... StreamRows>
  static constexpr TileFunctions make_functions(std::integer_sequence<int, Rows...>,
                                                std::integer_sequence<int, StreamRows...>) {
    TileFunctions functions{};
    (set_tiles<Rows + 1>(functions.tile[Rows], std::make_integer_sequence<int, kTiles>{}), ...);
    ((functions.stream[StreamRows] = stream_tile<StreamRows + 1>), ...);
    return functions;
  }
  static const TileFunctions kFunctions;

  static LOWRANK_INLINE Operands operands(const TileArgs& args, PrefetchQueue* queue) {
    const auto m = static_cast<size_t>(args.m), n = static_cast<size_t>(args.n);
    const auto x_stride = static_cast<size_t>(args.x->stride);
    const auto cols = static_cast<size_t>(args.w->padded_cols());
    const auto groups = static_cast<size_t>(args.w->groups());
    // Each block of rows that goes through this panel asks for one tile of the next panel, until it is there.
    const auto panel_tiles = static_cast<size_t>(args.tiles);
    const size_t tile_bytes = cols * kTileRows;
    const auto blocks = static_cast<size_t>((args.rows + S::kDotRows - 1) / S::kDotRows);
    const size_t pass = std::min(static_cast<size_t>((args.m - args.first_row) / S::kDotRows), panel_tiles);
    const uint8_t* const next = args.w->data.as<uint8_t>() + n * cols + panel_tiles * tile_bytes;
    return {args.x->q + m * x_stride,
            x_stride,
            args.x->scale + m * groups,
            args.x->compensation + m * groups,
            args.w->data.as<uint8_t>() + n * cols,
            args.w->scale.as<uint16_t>() + n * groups,
            cols,
            groups,
            static_cast<size_t>(args.w->scheme.group) * kTileRows,
            next + pass * tile_bytes,
            next + panel_tiles * tile_bytes,
            queue,
            queue == nullptr ? 0 : queue->lines() / (groups * blocks) + 1};
  }
};

template <class S>
constexpr typename Int8DotKernel<S>::TileFunctions Int8DotKernel<S>::kFunctions =
    make_functions(std::make_integer_sequence<int, kRows>{}, std::make_integer_sequence<int, kStreamRows>{});

}  // namespace lowrank::cpu
