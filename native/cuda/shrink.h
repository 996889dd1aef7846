// The shrink of a quantise op, h[m, r] = scale * sum_k u[m, k] A[r, k], on bfloat16 tensor cores.
//
// A block has up to kShrinkRows rows. K goes by in slices of 256 channels: the block makes u of a slice, split into three
// bfloat16 parts (bfloat16_split.h), in shared memory; of each slice, a warp multiplies 32 channels. A, bfloat16 or int8 (which
// a bfloat16 holds exactly), goes from memory to registers in pieces of 16 bytes a lane: the order of K within the 32 channels
// is that of these pieces, for both operands. A is the first operand, so that ranks are padded to 16 (an item) and rows to 8. A
// row's sums depend on its own column of the second operand alone.
//
// Order of the sum, whichever rows and however many blocks there are, so that a row's h is the same bits in each batch:
//   32 channels: two steps of 16, all low parts, all middle ones, all high ones, one sum in the tensor core
//                (float32 A: fused multiply-adds in ascending order)
//   a slice:     its 8 sums as sum_of_warps adds
//   K:           the slices' in ascending order, then times the scale
// Blocks that share rows take some of the slices each (gridDim.y) and leave a sum for each slice; the last of them to come adds
// these. Where there are few rows, blocks share out the items, too (gridDim.z).
//
// Per block and slice: of A 512 ceil16(rank) bytes (bfloat16), from the second-level cache mostly; 6 mma a warp for each item.
// Shared memory: 8 rows of 512 bytes for each part, in pieces of 16 bytes; of odd rows the pieces are exchanged by fours, so
// that the lanes of two rows that read together meet no bank twice.
#pragma once

#include <cstdint>

#include "cuda/ptx.h"
#include "cuda/shrink_items.h"

namespace lowrank::cuda {

// u of row `row`, channels k … k + 3 of a slice, for multiply_pieces.
LOWRANK_DEVICE void store_split(ShrinkMemory& memory, int32_t row, int32_t k, const float4& u) {
  const SplitPair first = split_pair(u.x, u.y), second = split_pair(u.z, u.w);
  const int32_t at = 2 * ShrinkMemory::at(row, k / 8) + k / 4 % 2;
  reinterpret_cast<uint2*>(memory.high)[at] = make_uint2(first.high, second.high);
  reinterpret_cast<uint2*>(memory.middle)[at] = make_uint2(first.middle, second.middle);
  reinterpret_cast<uint2*>(memory.low)[at] = make_uint2(first.low, second.low);
}

// A lane's piece of the warp's channels: ranks group and group + 8 of each item of a batch, 8 channels from 8 member on.
struct ShrinkPieces {
  uint4 a[kBatchItems][2];
};

// Whether the warp has channels in the slice; as A, u is padded with zeros to a multiple of 64.
LOWRANK_DEVICE bool has_channels(const ShrinkItem* items, int32_t slice) {
  return slice * device::kShrinkSlice + warp_index() * kWarpChannels < items[0].stride;
}

// Warp-wide. Ranks past the last are read as the last, and go nowhere; float32 is read later.
LOWRANK_DEVICE void load_pieces(ShrinkPieces& pieces, const ShrinkItem* items, int32_t count, int32_t slice) {
  if (count == 0 || !has_channels(items, slice)) return;
  const int32_t k = slice * device::kShrinkSlice + warp_index() * kWarpChannels + lane_index() % 4 * 8;
#pragma unroll
  for (int32_t i = 0; i < kBatchItems; ++i) {
    if (i >= count) break;
    const ShrinkItem& item = items[i];
#pragma unroll
    for (int32_t half = 0; half < 2; ++half) {
      uint4& piece = pieces.a[i][half];
      const int64_t at = int64_t{min(lane_index() / 4 + 8 * half, item.ranks - 1)} * item.stride + k;
      if (item.dtype == LoraDType::kBFloat16) {
        piece = __ldg(reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(item.a) + at));
      } else if (item.dtype == LoraDType::kInt8) {
        const uint2 bytes = __ldg(reinterpret_cast<const uint2*>(static_cast<const int8_t*>(item.a) + at));
        piece = make_uint4(bytes.x, bytes.y, 0, 0);
      } else {
        piece = make_uint4(0, 0, 0, 0);
      }
    }
  }
}

// Eight int8 become bfloat16.
LOWRANK_DEVICE void widen(uint4& piece) {
  piece = make_uint4(bfloat16_pair_of_int8(piece.x), bfloat16_pair_of_int8(piece.x >> 16), bfloat16_pair_of_int8(piece.y),
                     bfloat16_pair_of_int8(piece.y >> 16));
}

// Four channels of u again, exactly.
LOWRANK_DEVICE float4 joined(const ShrinkMemory& memory, int32_t row, int32_t k) {
  const int32_t at = 2 * ShrinkMemory::at(row, k / 8) + k / 4 % 2;
  const uint2 high = reinterpret_cast<const uint2*>(memory.high)[at];
  const uint2 middle = reinterpret_cast<const uint2*>(memory.middle)[at];
  const uint2 low = reinterpret_cast<const uint2*>(memory.low)[at];
  const auto even = [](uint32_t h, uint32_t m, uint32_t l) {
    return __uint_as_float(h << 16) + (__uint_as_float(m << 16) + __uint_as_float(l << 16));
  };
  const auto odd = [](uint32_t h, uint32_t m, uint32_t l) {
    constexpr uint32_t kUpper = 0xffff0000u;
    return __uint_as_float(h & kUpper) + (__uint_as_float(m & kUpper) + __uint_as_float(l & kUpper));
  };
  return make_float4(even(high.x, middle.x, low.x), odd(high.x, middle.x, low.x), even(high.y, middle.y, low.y),
                     odd(high.y, middle.y, low.y));
}

// The lane's d fragment of an item in float32: ranks group and group + 8, rows 2 member and the next.
LOWRANK_DEVICE void multiply_float(ShrinkMemory& memory, float4& fragment, const ShrinkItem& item, int32_t slice) {
  const int32_t begin = warp_index() * kWarpChannels;
  const auto* const a = static_cast<const float*>(item.a) + slice * device::kShrinkSlice;
#pragma unroll 1
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t rank = lane_index() / 4 + 8 * (i / 2);
    const int32_t row = lane_index() % 4 * 2 + i % 2;
    if (rank >= item.ranks || row < item.row_begin || row >= item.row_end) continue;
    float sum = 0.0f;
#pragma unroll 2
    for (int32_t k = begin; k < begin + kWarpChannels; k += 4) {
      const float4 w = __ldg(reinterpret_cast<const float4*>(a + int64_t{rank} * item.stride + k));
      const float4 u = joined(memory, row, k);
      sum = __fmaf_rn(u.w, w.w, __fmaf_rn(u.z, w.z, __fmaf_rn(u.y, w.y, __fmaf_rn(u.x, w.x, sum))));
    }
    reinterpret_cast<float*>(&fragment)[i] = sum;
  }
}

// Warp-wide. Leaves the products of `count` items with the slice's u in warp_sums. has_u: whether row lane / 4 has u there.
LOWRANK_DEVICE void multiply_pieces(ShrinkMemory& memory, ShrinkPieces& pieces, const ShrinkItem* items, int32_t count,
                                    int32_t slice, bool has_u) {
  const int32_t at = ShrinkMemory::at(lane_index() / 4, warp_index() * (kWarpChannels / 8) + lane_index() % 4);
  const uint4 none = make_uint4(0, 0, 0, 0);
  const bool within = has_channels(items, slice);
  has_u = has_u && within;
  const uint4 parts[kSplitParts] = {has_u ? memory.low[at] : none, has_u ? memory.middle[at] : none,
                                    has_u ? memory.high[at] : none};
#pragma unroll
  for (int32_t i = 0; i < kBatchItems; ++i)
    if (i < count && within && items[i].dtype == LoraDType::kInt8) {
      widen(pieces.a[i][0]);
      widen(pieces.a[i][1]);
    }

  float sum[kBatchItems][4] = {};
#pragma unroll
  for (const uint4& u : parts)
#pragma unroll
    for (int32_t step = 0; step < 2; ++step)
#pragma unroll
      for (int32_t i = 0; i < kBatchItems; ++i) {
        if (i >= count || !within) continue;
        const uint4 &first = pieces.a[i][0], &second = pieces.a[i][1];
        if (step == 0)
          ptx::mma_m16n8k16_bf16(sum[i], {first.x, second.x, first.y, second.y}, {u.x, u.y});
        else
          ptx::mma_m16n8k16_bf16(sum[i], {first.z, second.z, first.w, second.w}, {u.z, u.w});
      }
#pragma unroll
  for (int32_t i = 0; i < kBatchItems; ++i) {
    if (i >= count) break;
    memory.warp_sums[warp_index()][i][lane_index()] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
  }
#pragma unroll 1
  for (int32_t i = 0; i < count; ++i)
    if (within && items[i].dtype == LoraDType::kFloat32)
      multiply_float(memory, memory.warp_sums[warp_index()][i][lane_index()], items[i], slice);
}

// Of the two sums that half `at` % 2 of lane `at` / 2's d fragment holds, the rank and the first row; the second is the next.
struct SumPlace {
  int32_t rank;
  int32_t row;
};
LOWRANK_DEVICE SumPlace place_of(int32_t at) { return {at / 8 + 8 * (at % 2), at / 2 % 4 * 2}; }

LOWRANK_DEVICE float2 added(const float2& a, const float2& b) { return make_float2(a.x + b.x, a.y + b.y); }

// What the sums of a block's rows become.
struct ShrinkOutput {
  float* h;       // of the block's first row
  float* sums;    // the same, of slice 0; null where the block shares its rows with none
  int64_t slice;  // floats from one slice's sums to the next's
  int32_t stride;
};

// Calls visit(row, float) for those of two sums that the item has, `sum` at `at` of its fragment.
template <class Visit>
LOWRANK_DEVICE void visit_sums(const ShrinkItem& item, int32_t at, const float2& sum, Visit visit) {
  const SumPlace place = place_of(at);
  if (place.rank >= item.ranks) return;
  if (place.row >= item.row_begin && place.row < item.row_end) visit(place.row, place.rank, sum.x);
  if (place.row + 1 >= item.row_begin && place.row + 1 < item.row_end) visit(place.row + 1, place.rank, sum.y);
}

LOWRANK_DEVICE float scale_of(const ShrinkItem& item, int32_t rank) {
  return item.rank_scale == nullptr ? item.scale : item.scale * item.rank_scale[rank];
}

// Block-wide. The sums of a slice of items [batch, batch + count) of those listed: left for the last block where `shares`, or
// added to the block's totals, which with the last slice become h.
LOWRANK_DEVICE void add_slice(ShrinkMemory& memory, const ShrinkOutput& out, int32_t batch, int32_t count, int32_t slice,
                              bool shares, bool last) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  constexpr int32_t kEach = 2 * kWarpLanes;
  static_assert(kBatchItems * kEach <= kRowThreads);
  const int32_t at = thread % kEach;
  if (thread / kEach >= count) return;
  const auto of_warp = [&](int32_t warp) {
    return reinterpret_cast<const float2*>(memory.warp_sums[warp][thread / kEach])[at];
  };
  static_assert(kRowWarps == 8);
  const float2 sum = added(added(added(of_warp(0), of_warp(1)), added(of_warp(2), of_warp(3))),
                           added(added(of_warp(4), of_warp(5)), added(of_warp(6), of_warp(7))));
  const ShrinkItem& item = memory.items[batch + thread / kEach];
  if (shares) {
    visit_sums(item, at, sum, [&](int32_t row, int32_t rank, float value) {
      out.sums[slice * out.slice + int64_t{row} * out.stride + item.h_offset + rank] = value;
    });
    return;
  }
  float2& total = memory.totals[batch + thread / kEach][at];
  const float2 now = slice == 0 ? sum : added(total, sum);
  total = now;
  if (last)
    visit_sums(item, at, now, [&](int32_t row, int32_t rank, float value) {
      out.h[int64_t{row} * out.stride + item.h_offset + rank] = value * scale_of(item, rank);
    });
}

// Block-wide. Whether this block of `blocks` that share rows comes last: then it sees what all have written.
LOWRANK_DEVICE bool comes_last(ShrinkMemory& memory, int32_t* arrivals, int32_t blocks) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    memory.comes_last = atomicAdd(arrivals, 1) == blocks - 1;
    __threadfence();
    if (memory.comes_last != 0) *arrivals = 0;
  }
  __syncthreads();
  return memory.comes_last != 0;
}

// Block-wide. h of the listed items from the sums of all slices.
LOWRANK_DEVICE void merge_slices(const ShrinkMemory& memory, const ShrinkOutput& out, int32_t count, int32_t slices) {
  constexpr int32_t kEach = kItemRanks * kShrinkRows;
  for (auto i = static_cast<int32_t>(threadIdx.x); i < count * kEach; i += kRowThreads) {
    const ShrinkItem& item = memory.items[i / kEach];
    const int32_t rank = i % kItemRanks;
    const int32_t row = i / kItemRanks % kShrinkRows;
    if (rank >= item.ranks || row < item.row_begin || row >= item.row_end) continue;
    const int64_t at = int64_t{row} * out.stride + item.h_offset + rank;
    float total = out.sums[at];
#pragma unroll 8
    for (int32_t slice = 1; slice < slices; ++slice) total += out.sums[slice * out.slice + at];
    out.h[at] = total * scale_of(item, rank);
  }
}

}  // namespace lowrank::cuda
