// acc[m, n] = sum_k q[m, k] * w[n, k] in int32. vpmaddubsw multiplies unsigned by signed bytes and adds pairs into 16 bits
// with saturation, which an offset weight (up to 255) would reach. So it is given |w| and q with the sign of w, both at
// most 127: a pair is at most 2 * 127 * 127 = 32,258 < 2^15, and the sum is exact.
//
// Layout: weights [N/16][K/4][16][4] uint8, w + 128 (layout.h): 32 consecutive bytes are 8 columns x 4 of K; four
// activations are broadcast to all lanes as one dword.
// Tiles of 4 rows x 16 columns: 8 accumulators, |w| and w of both halves, the ones of vpmaddwd and the broadcast fill 14 of
// the 16 registers. A tile's weights (9 KiB for K = 576) are read once from memory, strictly forwards, and from the
// first cache for every further 4 rows.
#include <cstring>

#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"
#include "cpu/simd/matmul_expand.h"
#include "cpu/simd/matmul_float.h"

namespace lowrank::cpu {
namespace {

// How far ahead of the loads a stream of weights is asked for: the hardware's own prefetch stops at each 4 KiB.
constexpr size_t kPrefetchBytes = 2048;

// acc += the products of four bytes in each lane.
LOWRANK_INLINE __m256i dot_accumulate(__m256i acc, __m256i weights, __m256i magnitudes, __m256i activations) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(activations, weights));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <int Rows>
void compute_tile(const int8_t* x, size_t x_stride, const uint8_t* w, size_t tile_bytes, int32_t* out) {
  __m256i low[Rows], high[Rows];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) low[r] = high[r] = _mm256_setzero_si256();
  const __m256i top_bits = _mm256_set1_epi8(-128);
  const uint8_t* const end = w + tile_bytes;
  for (; w != end; w += 64, x += kTileDepth) {
    _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchBytes), _MM_HINT_T0);
    // w + 128 with its top bit flipped is w in two's complement.
    const __m256i weights_low = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(w)), top_bits);
    const __m256i weights_high = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32)), top_bits);
    const __m256i magnitudes_low = _mm256_abs_epi8(weights_low);
    const __m256i magnitudes_high = _mm256_abs_epi8(weights_high);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + static_cast<size_t>(r) * x_stride, sizeof four);
      const __m256i activations = _mm256_set1_epi32(four);
      low[r] = dot_accumulate(low[r], weights_low, magnitudes_low, activations);
      high[r] = dot_accumulate(high[r], weights_high, magnitudes_high, activations);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + r * kTileRows), low[r]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + r * kTileRows + 8), high[r]);
  }
}

struct Int8Kernel {
  using Sum = int32_t;
  static constexpr int kRows = 4;
  static constexpr int kTiles = 1;
  static constexpr int kStreamRows = 0;

  static void tile(const TileArgs& args, int32_t* sums) {
    const auto stride = static_cast<size_t>(args.x->stride);
    const auto cols = static_cast<size_t>(args.w->padded_cols());
    const int8_t* x = args.x->q + static_cast<size_t>(args.m) * stride;
    const uint8_t* w = args.w->data.as<uint8_t>() + static_cast<size_t>(args.n) * cols;
    switch (args.rows) {
      case 1: return compute_tile<1>(x, stride, w, cols * kTileRows, sums);
      case 2: return compute_tile<2>(x, stride, w, cols * kTileRows, sums);
      case 3: return compute_tile<3>(x, stride, w, cols * kTileRows, sums);
      default: return compute_tile<4>(x, stride, w, cols * kTileRows, sums);
    }
  }
  static void stream(const TileArgs&, int32_t*) {}
};

}  // namespace

namespace avx2 {

void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  const Range columns = split(args.w->rows, kTileRows, part, parts);
  if (args.w->activation == ActivationFormat::kInt8)
    multiply<Avx2, Int8Kernel>(args, columns);
  else
    multiply_float<Avx2>(args, columns);
}

}  // namespace avx2
}  // namespace lowrank::cpu
