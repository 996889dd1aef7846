// The product of float32 rows with int8, bfloat16 or float32 weights: the reference modes.
//
// The sum over K is one of blocks of 64 channels in ascending order, each a chain of fused multiply-adds from zero in ascending
// k: one order for any number of rows. A block of threads computes 32 columns, a lane each, for 4 warps' rows; 64 channels of W
// (widened to float32, transposed, so that lanes read neighbouring banks) and of x lie in shared memory at a time.
//
// Per block: 32 rows of W once; per multiply-add of a warp, with 8 rows each, 1/8 load of W and 1/4 broadcast of x.
#include "core/float16.h"
#include "cuda/matmul_kernels.h"
#include "cuda/matmul_low_rank.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kThreads = 32 * kFloatWarps;
constexpr int32_t kPadded = kFloatColumns + 1;

LOWRANK_DEVICE float widen(int8_t value) { return static_cast<float>(value); }
LOWRANK_DEVICE float widen(uint16_t value) { return bfloat16_to_float32(value); }
LOWRANK_DEVICE float widen(float value) { return value; }

// tile [kFloatBlock][kPadded] = the columns n … of W^T from k on; 0 behind the last column.
template <class Element>
LOWRANK_DEVICE void load_weights(float* tile, const device::Matrix& w, int32_t n, int32_t k) {
  constexpr int32_t kAtOnce = 16 / static_cast<int32_t>(sizeof(Element));
  constexpr int32_t kPieces = kFloatBlock / kAtOnce;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < kFloatColumns * kPieces; i += kThreads) {
    const int32_t column = i / kPieces;
    const int32_t begin = i % kPieces * kAtOnce;
    union {
      uint4 words;
      Element elements[kAtOnce];
    } piece = {make_uint4(0, 0, 0, 0)};
    const int64_t at = static_cast<int64_t>(n + column) * w.stride + k + begin;
    if (n + column < w.rows) piece.words = ptx::load_streaming_16(static_cast<const Element*>(w.data) + at);
#pragma unroll
    for (int32_t e = 0; e < kAtOnce; ++e) tile[(begin + e) * kPadded + column] = widen(piece.elements[e]);
  }
}

template <class Element>
LOWRANK_DEVICE float expand_term(float sum, const float* h, const device::Factor& b, int32_t row) {
  const Element* column = static_cast<const Element*>(b.data) + static_cast<int64_t>(row) * device::factor_b_stride(b.rank);
  for (int32_t r = 0; r < b.rank; ++r) sum = __fmaf_rn(h[r], widen(__ldg(column + r)), sum);
  return sum;
}

LOWRANK_DEVICE float expand(const device::AdapterRows& segment, const float* h, int32_t n) {
  float sum = 0.0f;
  for (int32_t t = 0; t < segment.expand_count; ++t) {
    const device::ExpandTerm& term = segment.expand[t];
    const int32_t row = n - term.n_begin;
    if (row < 0 || row >= term.b.dimension) continue;
    switch (term.b.dtype) {
      case LoraDType::kBFloat16: sum = expand_term<uint16_t>(sum, h + term.h_offset, term.b, row); break;
      case LoraDType::kInt8: sum = expand_term<int8_t>(sum, h + term.h_offset, term.b, row); break;
      case LoraDType::kFloat32: sum = expand_term<float>(sum, h + term.h_offset, term.b, row); break;
    }
  }
  return sum;
}

LOWRANK_DEVICE void store(const device::MatmulExpandParams& p, int32_t m, int32_t n, float value) {
  if (p.w.format == WeightFormat::kInt8) value *= static_cast<const float*>(p.w.scale)[n];
  const float* bias = p.bias;
  const int32_t segment = p.adapters.count == nullptr ? -1 : p.adapters.segment_of_row[m];
  if (segment >= 0) {
    const device::AdapterRows& at = p.adapters.rows[segment];
    value += expand(at, p.adapters.h + static_cast<int64_t>(m) * p.adapters.h_stride, n);
    if (at.output_gain != nullptr) value *= __ldg(at.output_gain + n);
    if (at.bias != nullptr) bias = at.bias;
  }
  if (bias != nullptr) value += __ldg(bias + n);
  const int64_t at = static_cast<int64_t>(m) * p.y_stride + n;
  if (p.residual != nullptr) value += p.residual[at];
  p.y[at] = value;
}

// Element: of W.
template <class Element, int RowsPerWarp>
LOWRANK_KERNEL(kThreads, 4) matmul_float(device::MatmulExpandParams p) {
  constexpr int32_t kRows = kFloatWarps * RowsPerWarp;
  LOWRANK_SHARED(float, w_tile, kFloatBlock * kPadded);
  LOWRANK_SHARED(float, x_tile, kRows * kFloatBlock);
  const int32_t column_tiles = (p.w.rows + kFloatColumns - 1) / kFloatColumns;
  const int32_t n_block = static_cast<int32_t>(blockIdx.x) % column_tiles * kFloatColumns;
  const int32_t m_block = p.row_begin + static_cast<int32_t>(blockIdx.x) / column_tiles * kRows;
  const int32_t rows = min(kRows, p.row_end - m_block);
  const int32_t first = warp_index() * RowsPerWarp;  // of the warp's rows
  const int32_t lane = lane_index();

  float sum[RowsPerWarp] = {};
  for (int32_t k = 0; k < p.x.stride; k += kFloatBlock) {
    load_weights<Element>(w_tile, p.w, n_block, k);
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < rows * (kFloatBlock / 4); i += kThreads) {
      const int32_t row = i / (kFloatBlock / 4);
      const float* x = p.x.values + static_cast<int64_t>(m_block + row) * p.x.stride + k;
      reinterpret_cast<float4*>(x_tile)[i] = reinterpret_cast<const float4*>(x)[i % (kFloatBlock / 4)];
    }
    __syncthreads();
    if (first < rows) {
      float partial[RowsPerWarp] = {};
#pragma unroll 4
      for (int32_t i = 0; i < kFloatBlock; i += 4) {
        float w[4];
#pragma unroll
        for (int32_t e = 0; e < 4; ++e) w[e] = w_tile[(i + e) * kPadded + lane];
#pragma unroll
        for (int32_t r = 0; r < RowsPerWarp; ++r) {
          if (first + r >= rows) break;
          const float4 x = *reinterpret_cast<const float4*>(x_tile + (first + r) * kFloatBlock + i);
          partial[r] = __fmaf_rn(x.x, w[0], partial[r]);
          partial[r] = __fmaf_rn(x.y, w[1], partial[r]);
          partial[r] = __fmaf_rn(x.z, w[2], partial[r]);
          partial[r] = __fmaf_rn(x.w, w[3], partial[r]);
        }
      }
#pragma unroll
      for (int32_t r = 0; r < RowsPerWarp; ++r) sum[r] += partial[r];
    }
    __syncthreads();
  }
  const int32_t n = n_block + lane;
  if (n >= p.w.rows) return;
#pragma unroll
  for (int32_t r = 0; r < RowsPerWarp; ++r)
    if (first + r < rows) store(p, m_block + first + r, n, sum[r]);
}

template <class Element>
void add_float(Launches& launches, const device::MatmulExpandParams& p) {
  const int32_t rows = p.row_end - p.row_begin;
  const int64_t column_tiles = (int64_t{p.w.rows} + kFloatColumns - 1) / kFloatColumns;
  const int64_t tile_rows = kFloatWarps * float_rows_per_warp(rows);
  const dim3 grid(static_cast<unsigned>(column_tiles * ((rows + tile_rows - 1) / tile_rows)));
  launches.add(float_rows_per_warp(rows) == 1 ? matmul_float<Element, 1> : matmul_float<Element, 8>, grid, dim3(kThreads), 0, p);
}

}  // namespace

void enqueue_matmul_float(Launches& launches, const device::MatmulExpandParams& p) {
  if (p.w.format == WeightFormat::kInt8) return add_float<int8_t>(launches, p);
  if (p.w.format == WeightFormat::kBFloat16) return add_float<uint16_t>(launches, p);
  add_float<float>(launches, p);
}

}  // namespace lowrank::cuda
