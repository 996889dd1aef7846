// acc[m, n] = sum of q[m, k] * w[n, k] over a scale group in int32, by vpmaddwd, which multiplies 16-bit numbers and adds
// pairs into 32 bits: exact for w + 128 as it is stored (255 * 127 * 2 < 2^31). So
//   acc = sum q (w + 128) - 128 sum q,
// and the accumulators start at the last term. (vpmaddubsw, on bytes, would saturate at 2^15. It needs |w|
// and q with w's sign: one instruction more on the same two pipes, 135 against 160 Gop/s on Zen 4.)
//
// Layout: weights [N/16][K/4][16][4] uint8 (layout.h). Each dword holds a column's w0 w1 w2 w3; its even and
// its odd bytes, widened where they lie, are the pairs (w0, w2) and (w1, w3). Activations are widened into
// the same pairs once for 4 rows and a block of columns, and broadcast from there.
//
// Tiles of 4 rows x 16 columns: 8 accumulators, 4 vectors of weights, the mask and a broadcast fill 14 of the
// 16 registers. The weights of a block stay in L2 for all rows; from memory they are read once,
// strictly forwards.
#pragma once

#include <cstring>

#include "cpu/avx2/vector.h"
#include "cpu/simd/matmul_expand.h"

namespace lowrank::cpu::avx2 {

constexpr int kLargestRows = 4;
constexpr int32_t kChunk = 8192;  // columns of x that are widened at a time
static_assert(kChunk % kMaxScaleGroup == 0);

// Four activations of each of four rows, widened to the pairs (q0, q2) and (q1, q3) of int16.
struct Quad {
  struct {
    int32_t even, odd;
  } row[kLargestRows];
};

// x: the first row's q at the chunk's first column. count: a multiple of 64.
static void widen_rows(const int8_t* x, size_t x_stride, int32_t rows, int32_t count, Quad* quads) {
  for (int32_t r = 0; r < rows; ++r) {
    const int8_t* row = x + static_cast<size_t>(r) * x_stride;
    for (int32_t k = 0; k < count; k += 32) {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + k));
      const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
      const __m256i odd = _mm256_srai_epi16(bytes, 8);
      alignas(32) int64_t both[8];  // of dwords 0 1 4 5, then 2 3 6 7
      _mm256_store_si256(reinterpret_cast<__m256i*>(both), _mm256_unpacklo_epi32(even, odd));
      _mm256_store_si256(reinterpret_cast<__m256i*>(both + 4), _mm256_unpackhi_epi32(even, odd));
      constexpr int kPlace[8] = {0, 1, 4, 5, 2, 3, 6, 7};
      for (int i = 0; i < 8; ++i)
        std::memcpy(&quads[k / kTileDepth + i].row[r], &both[kPlace[i]], sizeof both[0]);
    }
  }
}

static LOWRANK_INLINE void multiply_accumulate(__m256i& acc, __m256i weights, __m256i activations) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(weights, activations));
#if defined(__GNUC__)
  // Keeps g++ from adding the products to each other first: it then runs out of registers, and an accumulator
  // that goes through memory costs half the speed.
  asm("" : "+x"(acc));
#endif
}

// One scale group of the operands. The first row's come first.
struct Group {
  const Quad* x;
  int32_t count;                // columns, a multiple of 64
  const float* x_scale;         // of row r at r * groups
  const int32_t* compensation;  // likewise
  size_t groups;
  const uint8_t* w;
  const uint16_t* w_scale;  // [16] bfloat16
};

// out [Rows][16] += the scaled products of one group.
template <int Rows>
static void add_group(const Group& in, float* out) {
  __m256i low[Rows], high[Rows];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
    low[r] = high[r] = _mm256_set1_epi32(in.compensation[static_cast<size_t>(r) * in.groups]);
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  const Quad* x = in.x;
  const uint8_t* w = in.w;
  for (const Quad* const end = x + in.count / kTileDepth; x != end; ++x, w += 64) {
    const __m256i weights_low = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i weights_high = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32));
    const __m256i even_low = _mm256_and_si256(weights_low, low_bytes);
    const __m256i even_high = _mm256_and_si256(weights_high, low_bytes);
    const __m256i odd_low = _mm256_srli_epi16(weights_low, 8);
    const __m256i odd_high = _mm256_srli_epi16(weights_high, 8);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const __m256i even = _mm256_set1_epi32(x->row[r].even);
      multiply_accumulate(low[r], even_low, even);
      multiply_accumulate(high[r], even_high, even);
      const __m256i odd = _mm256_set1_epi32(x->row[r].odd);
      multiply_accumulate(low[r], odd_low, odd);
      multiply_accumulate(high[r], odd_high, odd);
    }
  }
  const Avx2::F32 w_scale = Avx2::load_bfloat16(in.w_scale);
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    const Avx2::F32 x_scale = Avx2::set1(in.x_scale[static_cast<size_t>(r) * in.groups]);
    const Avx2::F32 product = Avx2::mul(w_scale, Avx2::to_float({low[r], high[r]}));
    float* const sum = out + r * kTileRows;
    Avx2::store(sum, Avx2::fma(x_scale, product, Avx2::load(sum)));
  }
}

class MaddKernel {
 public:
  static constexpr int kRows = kLargestRows;
  static constexpr int kTiles = 1;
  static constexpr int kStreamRows = 0;
  static constexpr size_t kBlockBytes = size_t{256} << 10;

  void begin_rows(const TileArgs& args) {
    if (args.w->padded_cols() <= kChunk) widen(args, 0, args.w->padded_cols());
  }

  LOWRANK_INLINE void tile(const TileArgs& args, PrefetchQueue& ahead, float* sums) {
    const size_t share = ahead.lines() / static_cast<size_t>(args.w->groups()) + 1;
    const int32_t cols = args.w->padded_cols();
    const auto groups = static_cast<size_t>(args.w->groups());
    const auto m = static_cast<size_t>(args.m), n = static_cast<size_t>(args.n);
    for (int32_t r = 0; r < args.rows; ++r) Avx2::store(sums + r * kTileRows, Avx2::zero());
    const int32_t group_cols = args.w->scheme.group;
    size_t g = 0;
    for (int32_t k = 0; k < cols; k += group_cols, ++g) {
      ahead.prefetch_next(share);
      if (cols > kChunk && k % kChunk == 0) widen(args, k, cols - k < kChunk ? cols - k : kChunk);
      const Group group = {quads_ + k % kChunk / kTileDepth,
                           cols - k < group_cols ? cols - k : group_cols,
                           args.x->scale + m * groups + g,
                           args.x->compensation + m * groups + g,
                           groups,
                           args.w->data.as<uint8_t>() + n * static_cast<size_t>(cols) + static_cast<size_t>(k) * kTileRows,
                           args.w->scale.as<uint16_t>() + n * groups + g * kTileRows};
      switch (args.rows) {
        case 1: add_group<1>(group, sums); break;
        case 2: add_group<2>(group, sums); break;
        case 3: add_group<3>(group, sums); break;
        default: add_group<4>(group, sums); break;
      }
    }
  }
  void stream(const TileArgs&, float*) {}

 private:
  void widen(const TileArgs& args, int32_t k, int32_t count) {
    const auto stride = static_cast<size_t>(args.x->stride);
    widen_rows(args.x->q + static_cast<size_t>(args.m) * stride + k, stride, args.rows, count, quads_);
  }
  alignas(64) Quad quads_[kChunk / kTileDepth];  // 64 KiB
};

}  // namespace lowrank::cpu::avx2
