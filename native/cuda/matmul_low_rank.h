// sum[row, column] += sum_r h[row, r] * B[column, r] on bfloat16 tensor cores, to float32's precision: the low-rank expand and
// the outlier columns of ops/matmul_expand.h, whose h and o are float32 while B is bfloat16 or int8.
//
// h is split into three bfloat16 parts (bfloat16_split.h). B is a bfloat16 as it is, an int8 one is. So each product is exact, and
// a step of 16 ranks is
//   c = low B, then + middle B, then + high B (mma.m16n8k16, from zero);   sum = sum + c
// Float32 B, which the reference modes have, takes fused multiply-adds in ascending r.
//
// All functions are warp-wide, for a tile of 16 rows from `m` on and 8 Fragments columns from `n` on: sum[j] is the d fragment
// (cuda/ptx.h) of columns n + 8 j …. `rows`: bit i stands for row m + i.
#pragma once

#include "core/float16.h"
#include "cuda/bfloat16_split.h"
#include "cuda/ptx.h"
#include "cuda/warp.h"
#include "device/params/common.h"

namespace lowrank::cuda {

inline constexpr int32_t kRankStep = 16;

// An a fragment of float32 as three of bfloat16.
struct SplitFragment {
  uint32_t high[4];
  uint32_t middle[4];
  uint32_t low[4];
};

// h [16, 16] from rank r on; zero for rows that are not there and from `rank` on, where nothing is read.
LOWRANK_DEVICE void load_split(SplitFragment& a, const float* h, int64_t h_stride, uint32_t rows, int32_t r, int32_t rank) {
  const int32_t group = lane_index() / 4;
  const int32_t member = lane_index() % 4;
#pragma unroll
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t row = group + 8 * (i & 1);
    const int32_t at = r + 2 * member + 8 * (i >> 1);
    const bool there = (rows >> row & 1u) != 0;
    const float* pair = h + row * h_stride + at;
    const SplitPair split = split_pair(there && at < rank ? pair[0] : 0.0f, there && at + 1 < rank ? pair[1] : 0.0f);
    a.high[i] = split.high;
    a.middle[i] = split.middle;
    a.low[i] = split.low;
  }
}

// B [dimension][stride], rows aligned to 4 elements and more, zero from `rank` to the next multiple of 16.
template <class Element>
struct ExpandFactor {
  const Element* data;
  int32_t stride;
  int32_t rank;
  int32_t dimension;
};

// __ldg also where an address comes from memory: the compiler then knows that it is one of global memory.
LOWRANK_DEVICE uint32_t load_bfloat16_pair(const uint16_t* two) { return __ldg(reinterpret_cast<const uint32_t*>(two)); }
LOWRANK_DEVICE uint32_t load_bfloat16_pair(const int8_t* two) {
  return bfloat16_pair_of_int8(__ldg(reinterpret_cast<const uint16_t*>(two)));
}

// `h` points to row m's rank 0, `n` is B's own index of the tile's first column and may be negative.
template <class Element, int Fragments>
LOWRANK_DEVICE void add_products(float (&sum)[Fragments][4], uint32_t rows, const float* h, int64_t h_stride,
                                 const ExpandFactor<Element>& b, int32_t n) {
  const int32_t group = lane_index() / 4;
  const int32_t member = lane_index() % 4;
#pragma unroll 1
  for (int32_t r = 0; r < b.rank; r += kRankStep) {
    uint32_t columns[Fragments][2];
#pragma unroll
    for (int32_t j = 0; j < Fragments; ++j) {
      const int32_t column = n + 8 * j + group;
      const bool there = column >= 0 && column < b.dimension;
#pragma unroll
      for (int32_t i = 0; i < 2; ++i)
        columns[j][i] =
            there ? load_bfloat16_pair(b.data + static_cast<int64_t>(column) * b.stride + r + 2 * member + 8 * i) : 0u;
    }
    SplitFragment a;
    load_split(a, h, h_stride, rows, r, b.rank);
#pragma unroll
    for (int32_t j = 0; j < Fragments; ++j) {
      float c[4] = {};
      ptx::mma_m16n8k16_bf16(c, a.low, columns[j]);
      ptx::mma_m16n8k16_bf16(c, a.middle, columns[j]);
      ptx::mma_m16n8k16_bf16(c, a.high, columns[j]);
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) sum[j][i] += c[i];
    }
  }
}

template <int Fragments>
LOWRANK_DEVICE void add_products(float (&sum)[Fragments][4], uint32_t rows, const float* h, int64_t h_stride,
                                 const ExpandFactor<float>& b, int32_t n) {
  const int32_t group = lane_index() / 4;
  const int32_t member = lane_index() % 4;
#pragma unroll 1
  for (int32_t r = 0; r < b.rank; ++r) {
    float columns[Fragments][2];
#pragma unroll
    for (int32_t j = 0; j < Fragments; ++j)
#pragma unroll
      for (int32_t i = 0; i < 2; ++i) {
        const int32_t column = n + 8 * j + 2 * member + i;
        const bool there = column >= 0 && column < b.dimension;
        columns[j][i] = there ? __ldg(b.data + static_cast<int64_t>(column) * b.stride + r) : 0.0f;
      }
#pragma unroll
    for (int32_t half = 0; half < 2; ++half) {
      const int32_t row = group + 8 * half;
      const float value = (rows >> row & 1u) != 0 ? h[row * h_stride + r] : 0.0f;
#pragma unroll
      for (int32_t j = 0; j < Fragments; ++j)
#pragma unroll
        for (int32_t i = 0; i < 2; ++i) sum[j][2 * half + i] = __fmaf_rn(value, columns[j][i], sum[j][2 * half + i]);
    }
  }
}

template <class Element>
LOWRANK_DEVICE ExpandFactor<Element> factor_of(const device::Factor& b) {
  return {static_cast<const Element*>(b.data), device::factor_b_stride(b.rank), b.rank, b.dimension};
}

// The index of the segment of row m + lane, or -1; of the last 16 lanes, which have no row, -1.
LOWRANK_DEVICE int32_t lane_segment(const device::AdapterSegments& adapters, int32_t m, int32_t row_end) {
  const int32_t row = m + lane_index();
  if (adapters.count == nullptr || lane_index() >= 16 || row >= row_end) return -1;
  return adapters.segment_of_row[row];
}

// The expand of every segment that meets the tile, rows of the others left as they are. The segments are counted in the order of
// their first rows; of them, those are taken whose number is `first` modulo `step`. segment: see lane_segment.
template <int Fragments>
LOWRANK_DEVICE void add_expand(float (&sum)[Fragments][4], const device::AdapterSegments& adapters, int32_t segment,
                               int32_t m, int32_t n, int32_t first, int32_t step) {
  uint32_t left = __ballot_sync(kWholeWarp, segment >= 0);
#pragma unroll 1
  for (int32_t number = 0; left != 0; ++number) {
    const int32_t one = __shfl_sync(kWholeWarp, segment, __ffs(static_cast<int>(left)) - 1);
    const uint32_t rows = __ballot_sync(kWholeWarp, segment == one);
    left &= ~rows;
    if (number % step != first) continue;
    const device::ExpandTerm* terms = adapters.rows[one].expand;
    const int32_t count = adapters.rows[one].expand_count;
#pragma unroll 1
    for (int32_t begin = 0; begin < count; begin += 32) {
      // A lane looks at a term each: of q, k and v stacked, one meets the tile.
      const int32_t mine = begin + lane_index();
      const bool meets = mine < count && n < terms[mine].n_begin + terms[mine].b.dimension &&
                         n + 8 * Fragments > terms[mine].n_begin;
#pragma unroll 1
      for (uint32_t meeting = __ballot_sync(kWholeWarp, meets); meeting != 0; meeting &= meeting - 1) {
        const device::ExpandTerm term = terms[begin + __ffs(static_cast<int>(meeting)) - 1];
        const float* h = adapters.h + static_cast<int64_t>(m) * adapters.h_stride + term.h_offset;
        switch (term.b.dtype) {
          case LoraDType::kBFloat16:
            add_products(sum, rows, h, adapters.h_stride, factor_of<uint16_t>(term.b), n - term.n_begin);
            break;
          case LoraDType::kInt8:
            add_products(sum, rows, h, adapters.h_stride, factor_of<int8_t>(term.b), n - term.n_begin);
            break;
          case LoraDType::kFloat32:
            add_products(sum, rows, h, adapters.h_stride, factor_of<float>(term.b), n - term.n_begin);
            break;
        }
      }
    }
  }
}

}  // namespace lowrank::cuda
