// acc[m, n] = sum of q[m, k] * w[n, k] over a scale group in int32, by vpdpbusd: each of its 16 lanes adds four products
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
// Prefill: 6 rows x 32 columns at a time: 12 accumulators, 12 sums, 2 vectors of weights and the broadcast fill 27 of the 32
// registers, and every 12 vpdpbusd take 2 + 6 loads. A panel of 32 columns (18 KiB for K = 576) leaves room in the first cache
// for what the epilogue reads; with 4 x 48, as fast by itself, an adapter cost 1 % more.
//
// Decode: up to 6 rows x 16 columns, one vector of weights at a time, strictly forwards. The hardware follows
// such a stream by itself: asking for lines ahead of it, at any distance from 0.5 to 16 KiB, measured slower
// on Zen 4 for one row. 5 rows and more take so long with a line that the hardware loses the stream: there, asking gained
// 8 %. From 7 rows on, tiles are faster.
//
// g++ 12 turns _mm512_dpbusd_epi32 in such a loop into copies of the accumulators, at less than half the
// speed; one line of inline assembly keeps them where they are.
#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"
#include "cpu/simd/matmul_expand.h"
#include "cpu/simd/matmul_float.h"

namespace lowrank::cpu {
namespace {

LOWRANK_INLINE void dot_accumulate(__m512i& acc, __m512i weights, __m512i activations) {
#if defined(__GNUC__)
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(weights), "v"(activations));
#else
  acc = _mm512_dpbusd_epi32(acc, weights, activations);
#endif
}

LOWRANK_INLINE __m512i broadcast_four(const int8_t* q) {
  int32_t four;
  std::memcpy(&four, q, sizeof four);
  return _mm512_set1_epi32(four);
}

constexpr int kLargestRows = 12;
constexpr int kRegisterRows = 6;

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
  // Weights to ask for meanwhile, a line for each four of K; from ahead_end on, nothing is left to ask for.
  const uint8_t* ahead;
  const uint8_t* ahead_end;
  // What else to ask for, so many lines with each group.
  PrefetchQueue* queue;
  size_t queue_share;
};

constexpr size_t kStreamAhead = 8192;  // bytes
constexpr int kFollowedRows = 4;       // of so many, the hardware follows the stream

constexpr float kBias = 12582912;  // 1.5 * 2^23
constexpr int32_t kBiasBits = 0x4b400000;
static_assert(kScaleGroup * 128 * 127 < 1 << 22);

LOWRANK_INLINE __m512i begin_sum(const Operands& in, int r, size_t g) {
  return _mm512_set1_epi32(in.compensation[static_cast<size_t>(r) * in.groups + g] + kBiasBits);
}

// sum += x_scale * (w_scale * acc). biased: -w_scale * kBias.
LOWRANK_INLINE __m512 add_scaled(__m512 sum, __m512i acc, __m512 w_scale, __m512 biased, float x_scale) {
  return _mm512_fmadd_ps(_mm512_set1_ps(x_scale), _mm512_fmadd_ps(w_scale, _mm512_castsi512_ps(acc), biased), sum);
}

constexpr size_t kGroupBytes = size_t{kScaleGroup} * kTileRows;

// The bytes of group g in one tile: the last group may be shorter.
LOWRANK_INLINE size_t group_bytes(const Operands& in, size_t g) {
  const size_t rest = in.cols * kTileRows - g * kGroupBytes;
  return rest < kGroupBytes ? rest : kGroupBytes;
}

LOWRANK_INLINE __m512 group_scale(const Operands& in, size_t tile, size_t g) {
  return Avx512Vnni::load_bfloat16(in.w_scale + (tile * in.groups + g) * kTileRows).v;
}

template <int Rows, int Tiles>
void compute_tile(const Operands& in, float* out) {
  const size_t tile_bytes = in.cols * kTileRows;
  __m512 sum[Rows][Tiles];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < Tiles; ++t) sum[r][t] = _mm512_setzero_ps();
  const int8_t* x = in.x;
  const uint8_t* w = in.w;
  const uint8_t* ahead = in.ahead < in.ahead_end ? in.ahead : in.w;  // its own are in the cache
  for (size_t g = 0; g < in.groups; ++g) {
    in.queue->ask(in.queue_share);
    __m512i acc[Rows][Tiles];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) acc[r][t] = begin_sum(in, r, g);
    const uint8_t* const end = w + group_bytes(in, g);
    for (; w != end; w += 64, x += kTileDepth, ahead += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
      __m512i weights[Tiles];
#pragma GCC unroll 4
      for (int t = 0; t < Tiles; ++t) weights[t] = _mm512_load_si512(w + static_cast<size_t>(t) * tile_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const __m512i four = broadcast_four(x + static_cast<size_t>(r) * in.x_stride);
#pragma GCC unroll 4
        for (int t = 0; t < Tiles; ++t) dot_accumulate(acc[r][t], weights[t], four);
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < Tiles; ++t) {
      const __m512 w_scale = group_scale(in, static_cast<size_t>(t), g);
      const __m512 biased = _mm512_mul_ps(w_scale, _mm512_set1_ps(-kBias));
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r)
        sum[r][t] = add_scaled(sum[r][t], acc[r][t], w_scale, biased, in.x_scale[static_cast<size_t>(r) * in.groups + g]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int t = 0; t < Tiles; ++t) _mm512_store_ps(out + (r * Tiles + t) * kTileRows, sum[r][t]);
}

// One tile of 16 columns for few rows. Separate chains over k hide the latency of vpdpbusd; their sum is
// exact.
template <int Rows>
void stream_tile(const Operands& in, float* out) {
  constexpr int kChains = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
  static_assert(kActivationAlignment % (kTileDepth * kChains) == 0);
  __m512 sum[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) sum[r] = _mm512_setzero_ps();
  const int8_t* x = in.x;
  const uint8_t* w = in.w;
  for (size_t g = 0; g < in.groups; ++g) {
    __m512i acc[Rows][kChains];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kChains; ++c)
        acc[r][c] = c == 0 ? begin_sum(in, r, g) : _mm512_setzero_si512();
    const uint8_t* const end = w + group_bytes(in, g);
    for (; w != end; w += 64 * kChains, x += kTileDepth * kChains) {
      if constexpr (Rows > kFollowedRows) _mm_prefetch(reinterpret_cast<const char*>(w + kStreamAhead), _MM_HINT_T1);
#pragma GCC unroll 4
      for (int c = 0; c < kChains; ++c) {
        const __m512i weights = _mm512_load_si512(w + 64 * c);
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r)
          dot_accumulate(acc[r][c], weights,
                         broadcast_four(x + static_cast<size_t>(r) * in.x_stride + kTileDepth * c));
      }
    }
    const __m512 w_scale = group_scale(in, 0, g);
    const __m512 biased = _mm512_mul_ps(w_scale, _mm512_set1_ps(-kBias));
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      __m512i total = acc[r][0];
#pragma GCC unroll 4
      for (int c = 1; c < kChains; ++c) total = _mm512_add_epi32(total, acc[r][c]);
      sum[r] = add_scaled(sum[r], total, w_scale, biased, in.x_scale[static_cast<size_t>(r) * in.groups + g]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) _mm512_store_ps(out + r * kTileRows, sum[r]);
}

// More rows than the registers hold: one block after the other, which read the weights from the first cache.
template <int Rows, int Tiles>
void compute_rows(const Operands& in, float* out) {
  if constexpr (Rows <= kRegisterRows) {
    compute_tile<Rows, Tiles>(in, out);
  } else {
    compute_tile<kRegisterRows, Tiles>(in, out);
    Operands rest = in;
    rest.x += kRegisterRows * in.x_stride;
    rest.x_scale += kRegisterRows * in.groups;
    rest.compensation += kRegisterRows * in.groups;
    rest.ahead += in.cols * kTileRows;
    compute_rows<Rows - kRegisterRows, Tiles>(rest, out + kRegisterRows * Tiles * kTileRows);
  }
}

using TileFunction = void (*)(const Operands& in, float* out);
constexpr int kLargestTiles = 2;
constexpr int kLargestStreamRows = 6;

struct TileFunctions {
  TileFunction tile[kLargestRows][kLargestTiles];
  TileFunction stream[kLargestStreamRows];
};
template <int... Rows, int... StreamRows>
constexpr TileFunctions make_functions(std::integer_sequence<int, Rows...>,
                                       std::integer_sequence<int, StreamRows...>) {
  return {{{compute_rows<Rows + 1, 1>, compute_rows<Rows + 1, 2>}...},
          {stream_tile<StreamRows + 1>...}};
}
constexpr TileFunctions kFunctions = make_functions(std::make_integer_sequence<int, kLargestRows>{},
                                                    std::make_integer_sequence<int, kLargestStreamRows>{});

struct Int8Kernel {
  static constexpr size_t kWeightBytes = 1;
  static constexpr int kRows = kLargestRows;
  static constexpr int kTiles = kLargestTiles;
  static constexpr int kStreamRows = kLargestStreamRows;
  static constexpr size_t kBlockBytes = 0;

  void begin_rows(const TileArgs&) {}
  static void tile(const TileArgs& args, PrefetchQueue& ahead, float* sums) {
    kFunctions.tile[args.rows - 1][args.tiles - 1](operands(args, &ahead), sums);
  }
  static void stream(const TileArgs& args, float* sums) { kFunctions.stream[args.rows - 1](operands(args, nullptr), sums); }

 private:
  static LOWRANK_INLINE Operands operands(const TileArgs& args, PrefetchQueue* queue) {
    const auto m = static_cast<size_t>(args.m), n = static_cast<size_t>(args.n);
    const auto x_stride = static_cast<size_t>(args.x->stride);
    const auto cols = static_cast<size_t>(args.w->padded_cols());
    const auto groups = static_cast<size_t>(args.w->groups());
    // Each block of rows that goes through this panel asks for one tile of the next panel, until it is there.
    const auto panel_tiles = static_cast<size_t>(args.tiles);
    const size_t tile_bytes = cols * kTileRows;
    const auto blocks = static_cast<size_t>((args.rows + kRegisterRows - 1) / kRegisterRows);
    const size_t pass = std::min(static_cast<size_t>((args.m - args.first_row) / kRegisterRows), panel_tiles);
    const uint8_t* const next = args.w->data.as<uint8_t>() + n * cols + panel_tiles * tile_bytes;
    return {args.x->q + m * x_stride,
            x_stride,
            args.x->scale + m * groups,
            args.x->compensation + m * groups,
            args.w->data.as<uint8_t>() + n * cols,
            args.w->scale.as<uint16_t>() + n * groups,
            cols,
            groups,
            next + pass * tile_bytes,
            next + panel_tiles * tile_bytes,
            queue,
            queue == nullptr ? 0 : queue->lines() / (groups * blocks) + 1};
  }
};

}  // namespace

namespace avx512_vnni {

void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  if (args.w->activation == ActivationFormat::kInt8)
    multiply<Avx512Vnni, Int8Kernel>(args, part, parts);
  else
    multiply_float<Avx512Vnni>(args, part, parts);
}

}  // namespace avx512_vnni
}  // namespace lowrank::cpu
