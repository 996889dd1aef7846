// What a block of the shrink has to multiply, and where it keeps it: see shrink.h.
#pragma once

#include <cstdint>

#include "cuda/bfloat16_split.h"
#include "cuda/quantize_shrink.h"
#include "cuda/quantize_sources.h"

namespace lowrank::cuda {

inline constexpr int32_t kItemRanks = 16;
inline constexpr int32_t kBatchItems = 3;   // multiplied between two barriers: q, k and v at rank 16
inline constexpr int32_t kListedItems = 16;  // where a block has more, it goes over its rows again
inline constexpr int32_t kWarpChannels = 32;
static_assert(kWarpChannels * kRowWarps == device::kShrinkSlice);

// 16 ranks of a term for the rows of one segment.
struct ShrinkItem {
  const void* a;            // row 0 of the ranks
  const float* rank_scale;  // or null
  float scale;
  int32_t stride;    // of A's rows
  int32_t ranks;     // of kItemRanks, those that are there
  int32_t h_offset;
  int32_t row_begin;  // the segment's rows of the block
  int32_t row_end;
  LoraDType dtype;
};

// Of a block, in shared memory.
struct ShrinkMemory {
  static constexpr int32_t kPieces = device::kShrinkSlice / 8;  // of a row
  uint4 high[kShrinkRows * kPieces], middle[kShrinkRows * kPieces], low[kShrinkRows * kPieces];
  float4 warp_sums[kRowWarps][kBatchItems][kWarpLanes];  // d fragments
  float2 totals[kListedItems][2 * kWarpLanes];           // of a block that shares its rows with none
  ShrinkItem items[kListedItems];
  int32_t item_count;  // of the block, listed or not
  int32_t comes_last;

  // Where piece `piece` of a row lies.
  LOWRANK_DEVICE static int32_t at(int32_t row, int32_t piece) { return row * kPieces + (piece ^ ((row & 1) << 2)); }
};

// Warp-wide. Lists the items of the block, which are those whose number is blockIdx.z modulo gridDim.z, from its `first` on.
LOWRANK_DEVICE void list_items(ShrinkMemory& memory, const QuantizeRow* rows, int32_t row_count, int32_t first) {
  const auto part = static_cast<int32_t>(blockIdx.z);
  const auto parts = static_cast<int32_t>(gridDim.z);
  int32_t before = 0;  // items of the terms that were seen
  for (int32_t begin = 0, end; begin < row_count; begin = end) {
    const QuantizeRow& row = rows[begin];
    for (end = begin + 1; end < row_count && rows[end].segment == row.segment;) ++end;
    for (int32_t t = 0; t < row.shrink_count; t += kWarpLanes) {
      const bool there = t + lane_index() < row.shrink_count;
      const device::ShrinkTerm* const term = row.shrink + t + lane_index();
      const int32_t rank = there ? term->a.rank : 0;
      const int32_t count = (rank + kItemRanks - 1) / kItemRanks;
      int32_t behind = count;  // items up to this lane's last
      for (int32_t step = 1; step < kWarpLanes; step *= 2) {
        const int32_t others = __shfl_up_sync(kWholeWarp, behind, step);
        if (lane_index() >= step) behind += others;
      }
      const int32_t own = before + behind - count;
      for (int32_t i = max(own, first * parts); i < min(own + count, (first + kListedItems) * parts); ++i) {
        if (i % parts != part) continue;
        const int32_t own_rank = (i - own) * kItemRanks;
        const int32_t stride = round_up(term->a.dimension, kActivationAlignment);
        const int64_t element = term->a.dtype == LoraDType::kFloat32 ? 4 : term->a.dtype == LoraDType::kBFloat16 ? 2 : 1;
        memory.items[i / parts - first] = {static_cast<const uint8_t*>(term->a.data) + element * own_rank * stride,
                                   term->rank_scale == nullptr ? nullptr : term->rank_scale + own_rank,
                                   term->scale,
                                   stride,
                                   min(rank - own_rank, kItemRanks),
                                   term->h_offset + own_rank,
                                   begin,
                                   end,
                                   term->a.dtype};
      }
      before += __shfl_sync(kWholeWarp, behind, kWarpLanes - 1);
    }
  }
  if (lane_index() == 0) memory.item_count = (before - part + parts - 1) / parts;
}

}  // namespace lowrank::cuda
