// ops/attention_paged.h on CUDA: which kernel runs what.
//
// attention_tiles  bfloat16 and int8 caches, head_dim a multiple of 16 up to 256: both products by mma.m16n8k16 in bfloat16. A
//                  warp has a tile of 16 slots (rows times the query heads of one kv head), a block one or several such tiles.
//                  Keys and values come page by page, by cp.async, some pages ahead.
// attention_rows   every other cache: a warp for each row and head, float32 products.
// attention_merge  puts the splits of rows together where blocks shared a context.
//
// A row's numbers go through one sequence of operations in each of them: softmax states of splits of 256 positions, in blocks of
// 32, merged upwards; keys that a row does not see leave its state as it was, bit for bit. So neither the tile, nor how many
// blocks share a context, nor the number of rows of the launch shows in out: prefill and decode give the same bits.
#pragma once

#include "cuda/launches.h"
#include "cuda/warp.h"
#include "device/params/attention_paged.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::AttentionPagedParams& params);

inline constexpr int32_t kMergeThreads = 128;

// The tiles' widths in dimensions: a head_dim between two of them runs in the upper one, and skips what is not there.
inline constexpr int32_t kTileWidths[] = {64, 128, 256};

// What a block of attention_tiles is made of.
template <int kWidth, bool kInt8, bool kNarrow>
struct AttentionTiling {
  static constexpr int kWarps = (kNarrow ? device::kNarrowTile : device::wide_tile(kWidth)) / 16;
  static constexpr int kThreads = kWarpLanes * kWarps;
  static constexpr int kElementBytes = kInt8 ? 1 : 2;
  // Of a key or value in shared memory. 16 bytes more than it has, so that eight neighbours lie in different banks.
  static constexpr int kRowBytes = kWidth * kElementBytes + 16;
  static constexpr int kPageBytes = kPageTokens * kRowBytes;
  static constexpr int kScaleBytes = kInt8 ? kPageTokens * 4 : 0;
  static constexpr int kStageBytes = 2 * (kPageBytes + kScaleBytes);
  // Pages under way or in use. A decode waits for memory, so its one warp asks for more of them ahead.
  static constexpr bool kLarge = kRowBytes > 272;
  static constexpr int kStages = kNarrow ? (kLarge ? 2 : 4) : (kLarge ? 1 : 2);
  // Queries of wide heads are kept in shared memory, since the sums take the registers.
  static constexpr bool kQueriesInRegisters = kWidth <= 128;
  static constexpr int kQuerySteps = kWidth / device::kTileDims;
  static constexpr int kStepsAtOnce = kQueriesInRegisters ? kQuerySteps : 4;
  static constexpr int kQueryBytes = kQueriesInRegisters ? 0 : kQuerySteps * 16 * kThreads;
  // The merged splits of a block that goes through a whole context.
  static constexpr int kTotalBytes = kNarrow ? 0 : kWidth / 8 * 16 * kThreads;
  static constexpr int kSharedBytes = kStages * kStageBytes + kQueryBytes + kTotalBytes;
  static constexpr int kMinBlocks = kNarrow ? 1 : kWidth <= 64 ? 3 : 2;
};

}  // namespace lowrank::cuda
