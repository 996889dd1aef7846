// The product of many rows with int8 weights: mma.m16n8k32 over tiles in shared memory.
//
// A block computes Rows x Columns of y, a warp 32 x 32 of them: 2 x 4 fragments of int32 and as many of float32. K goes by in
// stages of one scale group (128 channels): the tiles of x [Rows][128] and W [Columns][128] come by cp.async into a ring of
// `Stages`, so that all but one are under way while one is multiplied. Of a last half group the missing half is not multiplied.
//
// Shared memory: rows of 128 bytes, eight pieces of 16; piece c of row r lies at c ^ (r % 8). ldmatrix reads one piece of eight
// neighbouring rows at a time, and cp.async writes eight pieces of one row: each eight lie in eight different groups of four
// banks, so neither meets a conflict.
//
// Per block and stage: 128 (Rows + Columns) bytes from memory (L2, mostly: a tile of W is read by M / Rows blocks that run side
// by side), 16 ldmatrix and 32 mma a warp, and for the scales 4 float32 operations for each 128 multiply-adds of a sum.
#include "cuda/matmul_epilogue.h"
#include "cuda/matmul_kernels.h"
#include "cuda/matmul_scale.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kPiece = 16;
constexpr int32_t kPieces = kScaleGroup / kPiece;
constexpr int32_t kStep = 32;  // of K, one mma

// Rows [first, end) of a row-major int8 matrix on their way to shared memory, `Threads` threads together.
template <int TileRows, int Threads>
class TileLoader {
 public:
  static constexpr int32_t kRowsAtOnce = Threads / kPieces;
  static_assert(TileRows % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);

  LOWRANK_DEVICE TileLoader(const int8_t* matrix, int32_t stride, int32_t first, int32_t end)
      : base_(matrix),
        row_(static_cast<int32_t>(threadIdx.x) / kPieces),
        piece_(static_cast<int32_t>(threadIdx.x) % kPieces),
        rows_(end - first),
        stride_(stride),
        source_(static_cast<int64_t>(first + row_) * stride + piece_ * kPiece),
        target_(row_ * kScaleGroup + ((piece_ ^ (row_ & 7)) * kPiece)) {}

  // Zeros where the matrix ends.
  LOWRANK_DEVICE void load(unsigned char* tile, int32_t k) const {
    const bool within = k + piece_ * kPiece < stride_;
#pragma unroll
    for (int32_t i = 0; i < TileRows / kRowsAtOnce; ++i) {
      const bool valid = within && row_ + i * kRowsAtOnce < rows_;
      const int64_t at = source_ + k + static_cast<int64_t>(i * kRowsAtOnce) * stride_;
      ptx::cp_async_16(tile + target_ + i * kRowsAtOnce * kScaleGroup, valid ? base_ + at : base_, valid);
    }
  }

 private:
  const int8_t* base_;
  int32_t row_;
  int32_t piece_;
  int32_t rows_;
  int32_t stride_;
  int64_t source_;
  int32_t target_;
};

template <int WarpRows, int WarpColumns, int Stages>
LOWRANK_KERNEL(32 * WarpRows * WarpColumns, 16 / (WarpRows * WarpColumns)) gemm_int8(device::MatmulExpandParams p) {
  constexpr int32_t kThreads = 32 * WarpRows * WarpColumns;
  constexpr int32_t kRows = kGemmWarpTile * WarpRows;
  constexpr int32_t kColumns = kGemmWarpTile * WarpColumns;
  constexpr int32_t kStageBytes = (kRows + kColumns) * kScaleGroup;
  static_assert(kThreads >= kRows + kColumns);  // a thread fetches a scale
  LOWRANK_DYNAMIC_SHARED(unsigned char, shared);
  auto* const scales = reinterpret_cast<float*>(shared + Stages * kStageBytes);  // [2][x's kRows | W's kColumns]

  const int32_t row_tiles = (p.row_end - p.row_begin + kRows - 1) / kRows;
  const int32_t m_block = p.row_begin + static_cast<int32_t>(blockIdx.x) % row_tiles * kRows;
  const int32_t n_block = static_cast<int32_t>(blockIdx.x) / row_tiles * kColumns;
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  const int32_t lane = lane_index();
  const int32_t warp_row = warp_index() % WarpRows * kGemmWarpTile;
  const int32_t warp_column = warp_index() / WarpRows * kGemmWarpTile;
  const int32_t groups = scale_groups(p.w.cols);

  const TileLoader<kRows, kThreads> x_loader(p.x.q, p.x.stride, m_block, p.row_end);
  const TileLoader<kColumns, kThreads> w_loader(static_cast<const int8_t*>(p.w.data), p.w.stride, n_block, p.w.rows);
  const auto load_stage = [&](int32_t g) {
    unsigned char* const stage = shared + g % Stages * kStageBytes;
    x_loader.load(stage, g * kScaleGroup);
    w_loader.load(stage + kRows * kScaleGroup, g * kScaleGroup);
  };

  // Thread t: the scale of row t of x, or of row t - kRows of W; 0 where there is none.
  const auto load_scale = [&](int32_t g) {
    if (thread < kRows) {
      const int32_t m = m_block + thread;
      return m < p.row_end ? p.x.scale[static_cast<int64_t>(m) * groups + g] : 0.0f;
    }
    const int32_t n = n_block + thread - kRows;
    if (thread >= kRows + kColumns || n >= p.w.rows) return 0.0f;
    return bfloat16_to_float32(static_cast<const uint16_t*>(p.w.scale)[static_cast<int64_t>(n) * groups + g]);
  };

  // Where ldmatrix reads: of x, rows 0-7 and 8-15 of both halves of a step; of W, both halves of columns 0-7 and of 8-15. XOR
  // with the step moves both to its pieces.
  const int32_t x_row = warp_row + lane % 16;
  const int32_t x_at = x_row * kScaleGroup + ((lane / 16) ^ (lane & 7)) * kPiece;
  const int32_t w_row = warp_column + lane % 8 + lane / 16 * 8;
  const int32_t w_at = (kRows + w_row) * kScaleGroup + ((lane / 8 % 2) ^ (lane & 7)) * kPiece;

  float product[2][4][4] = {};
#pragma unroll
  for (int32_t g = 0; g < Stages - 1; ++g) {
    if (g < groups) load_stage(g);
    ptx::cp_async_commit();
  }
  if (thread < kRows + kColumns) scales[thread] = load_scale(0);

#pragma unroll 1
  for (int32_t g = 0; g < groups; ++g) {
    ptx::cp_async_wait<Stages - 2>();
    __syncthreads();  // stage g is there, and everybody is done with stage g - 1
    if (g + Stages - 1 < groups) load_stage(g + Stages - 1);
    ptx::cp_async_commit();
    const float next_scale = g + 1 < groups ? load_scale(g + 1) : 0.0f;

    int32_t sum[2][4][4];
#pragma unroll
    for (int32_t f = 0; f < 2; ++f)
#pragma unroll
      for (int32_t j = 0; j < 4; ++j)
#pragma unroll
        for (int32_t i = 0; i < 4; ++i) sum[f][j][i] = kSumBegin;
    const unsigned char* const stage = shared + g % Stages * kStageBytes;
#pragma unroll
    for (int32_t step = 0; step < kScaleGroup / kStep; ++step) {
      if (step == 2 && g * kScaleGroup + kScaleGroup / 2 >= p.w.stride) break;
      uint32_t a[2][4], b[4][2];
#pragma unroll
      for (int32_t f = 0; f < 2; ++f)
        ptx::ldmatrix_x4(a[f], stage + ((x_at + 16 * f * kScaleGroup) ^ (step * kStep)));
#pragma unroll
      for (int32_t j = 0; j < 4; j += 2) {
        uint32_t both[4];
        ptx::ldmatrix_x4(both, stage + ((w_at + 8 * j * kScaleGroup) ^ (step * kStep)));
        b[j][0] = both[0], b[j][1] = both[1];
        b[j + 1][0] = both[2], b[j + 1][1] = both[3];
      }
#pragma unroll
      for (int32_t f = 0; f < 2; ++f)
#pragma unroll
        for (int32_t j = 0; j < 4; ++j) ptx::mma_m16n8k32_s8(sum[f][j], a[f], b[j]);
    }

    const float* const x_scale = scales + g % 2 * (kRows + kColumns) + warp_row + lane / 4;
    const float* const w_scale = scales + g % 2 * (kRows + kColumns) + kRows + warp_column + lane % 4 * 2;
#pragma unroll
    for (int32_t j = 0; j < 4; ++j) {
      const float2 sw = *reinterpret_cast<const float2*>(w_scale + 8 * j);
#pragma unroll
      for (int32_t f = 0; f < 2; ++f)
#pragma unroll
        for (int32_t half = 0; half < 2; ++half) {
          const float sx = x_scale[16 * f + 8 * half];
          product[f][j][2 * half] += (sx * sw.x) * sum_as_float(sum[f][j][2 * half]);
          product[f][j][2 * half + 1] += (sx * sw.y) * sum_as_float(sum[f][j][2 * half + 1]);
        }
    }
    // Read next after the next barrier; who read this half before is behind the last one.
    if (thread < kRows + kColumns) scales[(g + 1) % 2 * (kRows + kColumns) + thread] = next_scale;
  }

#pragma unroll
  for (int32_t f = 0; f < 2; ++f)
    finish_fragments(p, m_block + warp_row + 16 * f, n_block + warp_column, product[f]);
}

template <int WarpRows, int WarpColumns, int Stages>
void add_gemm(Launches& launches, const device::MatmulExpandParams& p) {
  constexpr GemmTile kTile = {kGemmWarpTile * WarpRows, kGemmWarpTile * WarpColumns, Stages};
  const int64_t row_tiles = (int64_t{p.row_end} - p.row_begin + kTile.rows - 1) / kTile.rows;
  const int64_t column_tiles = (int64_t{p.w.rows} + kTile.columns - 1) / kTile.columns;
  // Row tiles go first, so that the blocks that share a tile of W run together.
  const dim3 grid(static_cast<unsigned>(row_tiles * column_tiles));
  launches.add(gemm_int8<WarpRows, WarpColumns, Stages>, grid, dim3(32 * WarpRows * WarpColumns),
               static_cast<size_t>(gemm_shared_bytes(kTile)), p);
}

}  // namespace

// The large tile reads less, the small one fills more of the device where the product is small.
GemmTile gemm_tile(const device::MatmulExpandParams& p, int32_t multiprocessors) {
  const int64_t rows = (int64_t{p.row_end} - p.row_begin + kGemmLarge.rows - 1) / kGemmLarge.rows;
  const int64_t columns = (int64_t{p.w.rows} + kGemmLarge.columns - 1) / kGemmLarge.columns;
  return rows * columns >= multiprocessors ? kGemmLarge : kGemmSmall;
}

void enqueue_gemm_int8(Launches& launches, const device::MatmulExpandParams& p) {
  if (gemm_tile(p, launches.device().multiprocessors).rows == kGemmLarge.rows)
    add_gemm<kGemmLarge.rows / kGemmWarpTile, kGemmLarge.columns / kGemmWarpTile, kGemmLarge.stages>(launches, p);
  else
    add_gemm<kGemmSmall.rows / kGemmWarpTile, kGemmSmall.columns / kGemmWarpTile, kGemmSmall.stages>(launches, p);
}

}  // namespace lowrank::cuda
