// The shrink of a quantise op: h[m, r] = scale * sum_k u[m, k] A[r, k], of rows u that lie in shared memory a chunk at a time.
//
// Order of the sum, the same for one row and for many: K in blocks of kShrinkBlock channels. Of a block, a lane takes 16-byte
// vectors of A; of each four channels, the first two go into one sum and the others into a second. The two are added, then the
// lanes' (sum_of_warp), then the blocks' in order.
#pragma once

#include <cstdint>

#include "cuda/quantize_shrink.h"
#include "cuda/quantize_sources.h"

namespace lowrank::cuda {

inline constexpr int32_t kShrinkBlock = 2048;

// Where the four channels 4 i … 4 i + 3 of a row lie among its float4 in shared memory: exchanged so that lanes that read
// vectors of 4, 8 or 16 channels side by side meet no bank twice.
LOWRANK_DEVICE int32_t swizzled(int32_t i) { return i ^ ((i >> 3) & 3); }

template <LoraDType kDType>
inline constexpr int32_t kVectorElements = kDType == LoraDType::kFloat32 ? 4 : kDType == LoraDType::kBFloat16 ? 8 : 16;

// Elements 4 i … 4 i + 3 of a vector of a factor.
template <LoraDType kDType>
LOWRANK_DEVICE float4 four_of_vector(const uint4& vector, int i) {
  const uint32_t words[] = {vector.x, vector.y, vector.z, vector.w};
  if constexpr (kDType == LoraDType::kFloat32) {
    return make_float4(__uint_as_float(words[0]), __uint_as_float(words[1]), __uint_as_float(words[2]),
                       __uint_as_float(words[3]));
  } else if constexpr (kDType == LoraDType::kBFloat16) {
    const uint32_t first = words[2 * i], second = words[2 * i + 1];
    return make_float4(__uint_as_float(first << 16), __uint_as_float(first & 0xffff0000u), __uint_as_float(second << 16),
                       __uint_as_float(second & 0xffff0000u));
  } else {
    const auto element = [&](int at) { return static_cast<float>(static_cast<int8_t>(words[i] >> (8 * at))); };
    return make_float4(element(0), element(1), element(2), element(3));
  }
}

// Warp-wide. The sums over the warp of kCount values a lane, in sum_of_warp's order: lane l gets that of value l * kCount / 32.
template <int kCount, int kOffset = kWarpLanes / 2>
LOWRANK_DEVICE float sums_of_warp(float (&value)[kCount]) {
  if constexpr (kCount == 1) {
    float sum = value[0];
#pragma unroll
    for (int offset = kOffset; offset > 0; offset /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, offset);
    return sum;
  } else {
    const bool upper = (lane_index() & kOffset) != 0;
    float kept[kCount / 2];
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      const float mine = upper ? value[i + kCount / 2] : value[i];
      const float sent = upper ? value[i] : value[i + kCount / 2];
      kept[i] = mine + __shfl_xor_sync(kWholeWarp, sent, kOffset);
    }
    return sums_of_warp<kCount / 2, kOffset / 2>(kept);
  }
}

// The chunk of rows that a block holds.
template <int kRows>
struct ShrinkChunk {
  static constexpr int32_t kChannels = kQuantizeFloats / kRows;
  static_assert(kChannels % kShrinkBlock == 0);
  const float4* u;    // [kRows][kChannels / 4], swizzled
  int32_t begin;      // its first channel
  int32_t width;      // its channels, a multiple of 64
  bool last;          // of the rows' chunks
  int32_t first_row;  // m of row 0
};

// Rows [begin, end) of a block, of one segment.
struct RowRun {
  int32_t begin;
  int32_t end;
};

// Warp-wide. The products of kRanks ranks of A, from `rank` on, with the run's rows of the chunk over one block of channels, from
// `begin` of the chunk on: rank i of row r is value i * kRows + r of sums_of_warp. Ranks past the last are read as the last.
template <LoraDType kDType, int kRanks, int kRows>
LOWRANK_DEVICE float block_products(const ShrinkChunk<kRows>& chunk, const device::Factor& a, int32_t rank, RowRun run,
                                    int32_t begin) {
  constexpr int32_t kElements = kVectorElements<kDType>;
  constexpr int32_t kStep = kWarpLanes * kElements;
  constexpr int32_t kAhead = 4 / kRanks;  // vectors of a rank under way at a time
  const int64_t stride = round_up(a.dimension, kActivationAlignment);
  const uint4* rows[kRanks];
#pragma unroll
  for (int i = 0; i < kRanks; ++i)
    rows[i] = static_cast<const uint4*>(a.data) + (min(rank + i, a.rank - 1) * stride + chunk.begin) / kElements;

  float first[kRanks * kRows] = {}, second[kRanks * kRows] = {};
  const int32_t end = min(begin + kShrinkBlock, chunk.width);
  for (int32_t k = begin + lane_index() * kElements; k < end; k += kAhead * kStep) {
    uint4 vectors[kAhead][kRanks];
#pragma unroll
    for (int s = 0; s < kAhead; ++s)
#pragma unroll
      for (int i = 0; i < kRanks; ++i)
        if (k + s * kStep < end) vectors[s][i] = __ldg(rows[i] + (k + s * kStep) / kElements);
#pragma unroll
    for (int s = 0; s < kAhead; ++s) {
      if (k + s * kStep >= end) break;
#pragma unroll
      for (int q = 0; q < kElements / 4; ++q)
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          if (r < run.begin || r >= run.end) continue;
          const float4 u = chunk.u[r * (ShrinkChunk<kRows>::kChannels / 4) + swizzled((k + s * kStep) / 4 + q)];
#pragma unroll
          for (int i = 0; i < kRanks; ++i) {
            const float4 w = four_of_vector<kDType>(vectors[s][i], q);
            first[i * kRows + r] = __fmaf_rn(u.y, w.y, __fmaf_rn(u.x, w.x, first[i * kRows + r]));
            second[i * kRows + r] = __fmaf_rn(u.w, w.w, __fmaf_rn(u.z, w.z, second[i * kRows + r]));
          }
        }
    }
  }
#pragma unroll
  for (int i = 0; i < kRanks * kRows; ++i) first[i] += second[i];
  return sums_of_warp(first);
}

// Warp-wide. Adds the chunk's part to h[run, rank … rank + kRanks - 1] of a term, and scales it after the last.
template <LoraDType kDType, int kRanks, int kRows>
LOWRANK_DEVICE void shrink_ranks(const ShrinkChunk<kRows>& chunk, const device::AdapterSegments& adapters,
                                 const device::ShrinkTerm& term, int32_t rank, RowRun run) {
  constexpr int32_t kLanes = kWarpLanes / (kRanks * kRows);  // with the same value
  const int32_t value = lane_index() / kLanes;
  const int32_t r = value % kRows;
  const int32_t own_rank = rank + value / kRows;
  const bool stores = lane_index() % kLanes == 0 && r >= run.begin && r < run.end && own_rank < term.a.rank;
  float* h = adapters.h + int64_t{chunk.first_row + r} * adapters.h_stride + term.h_offset + own_rank;
  float total = stores && chunk.begin > 0 ? *h : 0.0f;
  for (int32_t begin = 0; begin < chunk.width; begin += kShrinkBlock)
    total += block_products<kDType, kRanks>(chunk, term.a, rank, run, begin);
  if (!stores) return;
  if (chunk.last) total *= term.rank_scale == nullptr ? term.scale : term.scale * term.rank_scale[own_rank];
  *h = total;
}

// The shrink over one chunk, for warp `worker` of the `workers` that share the block's rows: kRanks ranks at a time, dealt out.
template <int kRows>
LOWRANK_DEVICE void shrink_chunk(const ShrinkChunk<kRows>& chunk, const device::AdapterSegments& adapters,
                                 const QuantizeRow* rows, int32_t row_count, int32_t worker, int32_t workers) {
  constexpr int kRanks = kRows == 1 ? 1 : 4;
  int32_t dealt = 0;
  for (RowRun run = {0, 0}; run.begin < row_count; run.begin = run.end) {
    const QuantizeRow& row = rows[run.begin];
    run.end = run.begin + 1;
    while (run.end < row_count && rows[run.end].segment == row.segment) ++run.end;
    for (int32_t t = 0; t < row.shrink_count; ++t) {
      const device::ShrinkTerm& term = row.shrink[t];
      const int32_t items = (term.a.rank + kRanks - 1) / kRanks;
      for (int32_t i = (worker - dealt % workers + workers) % workers; i < items; i += workers)
        switch (term.a.dtype) {
          case LoraDType::kBFloat16:
            shrink_ranks<LoraDType::kBFloat16, kRanks>(chunk, adapters, term, i * kRanks, run);
            break;
          case LoraDType::kFloat32:
            shrink_ranks<LoraDType::kFloat32, kRanks>(chunk, adapters, term, i * kRanks, run);
            break;
          case LoraDType::kInt8:
            shrink_ranks<LoraDType::kInt8, kRanks>(chunk, adapters, term, i * kRanks, run);
            break;
        }
      dealt += items;
    }
  }
}

}  // namespace lowrank::cuda
