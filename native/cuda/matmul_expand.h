// ops/matmul_expand.h on CUDA: which kernel runs what, and the shapes of their tiles.
//
// rows of a launch   int8 activations
//   1 to 4           gemv_int8: dp4a; a warp streams a row of W
//   5 to 32          small_batch_int8: mma.m16n8k32; W goes from memory to registers, past shared memory
//   33 and more      gemm_int8: mma.m16n8k32, ldmatrix, cp.async in stages
// float32 activations, any rows: matmul_float: fused multiply-adds
//
// The three int8 kernels give the same bits: int32 sums within a scale group are exact, groups are added in ascending order in
// float32, and the epilogue is one code. So neither the kernel, nor its tile, nor how many warps share a column shows in y.
// The sums of groups are those of the reference bit for bit:
//   product = product + (sx * sw) * float(acc)
#pragma once

#include "cuda/launches.h"
#include "cuda/scale_group.h"
#include "device/params/matmul_expand.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::MatmulExpandParams& params);

inline constexpr int32_t kGemvRows = 4;
inline constexpr int32_t kSmallBatchRows = 32;

// gemv_int8: 8 columns a block, a warp each.
inline constexpr int32_t kGemvColumns = 8;

// small_batch_int8: 8 warps a block; `splits` of them share 8 columns, each taking every splits-th group of K.
inline constexpr int32_t kSmallBatchWarps = 8;
inline constexpr int32_t kSmallBatchColumns = 8;
int32_t small_batch_splits(const device::MatmulExpandParams& params, int32_t multiprocessors);

// gemm_int8<WarpRows, WarpColumns, Stages>: a warp computes 32 x 32; a stage is one scale group of K.
inline constexpr int32_t kGemmWarpTile = 32;
struct GemmTile {
  int32_t rows;
  int32_t columns;
  int32_t stages;
};
// 100 352 bytes of shared memory: one block on a multiprocessor, of 16 warps, on every architecture.
inline constexpr GemmTile kGemmLarge = {128, 128, 3};
// 33 792 bytes: two blocks of 4 warps and more.
inline constexpr GemmTile kGemmSmall = {64, 64, 2};
GemmTile gemm_tile(const device::MatmulExpandParams& params, int32_t multiprocessors);
// A ring of stages of both operands, and two rows of scales.
inline constexpr int32_t gemm_shared_bytes(GemmTile tile) {
  return (tile.rows + tile.columns) * (tile.stages * kScaleGroup + 2 * static_cast<int32_t>(sizeof(float)));
}

// matmul_float: 4 warps a block, 32 columns, a lane each; a warp has 1 row, or 8 where a launch has more than 4.
inline constexpr int32_t kFloatWarps = 4;
inline constexpr int32_t kFloatColumns = 32;
inline constexpr int32_t kFloatBlock = 64;  // of K
inline constexpr int32_t float_rows_per_warp(int32_t rows) { return rows <= kFloatWarps ? 1 : 8; }

}  // namespace lowrank::cuda
