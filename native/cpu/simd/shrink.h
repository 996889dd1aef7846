// h[m, r] = scale * rank_scale[r] * sum_k u[m, k] A[r, k], the LoRA shrink of ops/quantize_shrink.h, for a few rows of
// one adapter.
//
// A lies as [rank/4][ceil64(K)/16][4][16] in bfloat16, float32 or int8, and is widened to float32 in registers. Tiles of
// rows x ranks share their loads: 4 x 4 accumulators of 16 lanes, each lane summing every 16th k in ascending order, lanes
// added in halves at the end; so the order of one sum knows neither rows nor ranks beside it. K is taken in the chunks of
// the caller, whose sums are added in order.
#pragma once

#include "cpu/layout.h"
#include "cpu/simd/factor_element.h"
#include "ops/types.h"

namespace lowrank::cpu {

struct ShrinkChunk {
  const float* u;  // [rows][u_stride], zero from the row's end to a multiple of 16
  size_t u_stride;
  int32_t k_begin;  // where the chunk begins in A
  int32_t k_count;
  float* h;  // h of the first row and of r = 0
  size_t h_stride;
};

// Bytes of A that a decode asks for while the row is made, and then ahead of its reading. Into the second cache, which has more
// misses under way than the first: A is too short for the hardware to follow at full speed.
inline constexpr size_t kShrinkAhead = 8192;
// The address may lie behind the end of A: asking for what is not there does nothing.
static LOWRANK_INLINE void prefetch_second_cache(const void* p, size_t offset) {
#if defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + offset), 0, 2);
#else
  (void)p, (void)offset;
#endif
}

// `group`: A's group of ranks at column 0, which has `width` ranks; the tile takes `Ranks` of them from r on, of all of A.
template <class S, int Rows, int Ranks, class Element>
LOWRANK_INLINE void shrink_tile(const ShrinkChunk& chunk, const Element* group, size_t width, int32_t row, int32_t r) {
  using F = typename S::F32;
  F sum[Rows][Ranks];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) sum[i][j] = S::zero();
  const float* u = chunk.u + static_cast<size_t>(row) * chunk.u_stride;
  const Element* a = group + static_cast<size_t>(chunk.k_begin) * width + static_cast<size_t>(r % kFactorRanks) * S::kLanes;
  for (size_t k = 0; k < static_cast<size_t>(chunk.k_count); k += S::kLanes, a += width * S::kLanes) {
    if constexpr (Rows == 1)
      for (size_t byte = 0; byte < Ranks * S::kLanes * sizeof(Element); byte += 64)
        prefetch_second_cache(a, kShrinkAhead + byte);
    F weights[Ranks];
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) weights[j] = load_elements<S>(a + j * S::kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const F input = S::load(u + static_cast<size_t>(i) * chunk.u_stride + k);
#pragma GCC unroll 8
      for (int j = 0; j < Ranks; ++j) sum[i][j] = S::fma(input, weights[j], sum[i][j]);
    }
  }
  for (int i = 0; i < Rows; ++i) {
    float* h = chunk.h + static_cast<size_t>(row + i) * chunk.h_stride + r;
    float sums[Ranks];
    if constexpr (Ranks == 4)
      S::reduce_add4(sum[i][0], sum[i][1], sum[i][2], sum[i][3], sums);
    else
      for (int j = 0; j < Ranks; ++j) sums[j] = S::reduce_add(sum[i][j]);
    for (int j = 0; j < Ranks; ++j) h[j] = chunk.k_begin == 0 ? sums[j] : h[j] + sums[j];
  }
}

template <class S, int Rows, class Element>
LOWRANK_INLINE void shrink_rows(const ShrinkChunk& chunk, const PackedFactor& a, Range ranks, int32_t row, int32_t rows) {
  static_assert(kFactorRanks % S::kShrinkRanks == 0 && S::kLanes == kTileRows);
  for (; rows - row >= Rows; row += Rows)
    for (int32_t r = ranks.begin; r < ranks.end;) {
      const Element* group = a.data.as<Element>() + factor_a_offset(a, r / kFactorRanks * kFactorRanks, 0);
      const int32_t width = group_ranks(a, r);
      const int32_t end = r / kFactorRanks * kFactorRanks + width;
      for (; r + S::kShrinkRanks <= end; r += S::kShrinkRanks)
        shrink_tile<S, Rows, S::kShrinkRanks>(chunk, group, static_cast<size_t>(width), row, r);
      for (; r < end; ++r) shrink_tile<S, Rows, 1>(chunk, group, static_cast<size_t>(width), row, r);
    }
  if constexpr (Rows > 1) shrink_rows<S, Rows / 2, Element>(chunk, a, ranks, row, rows);
}

// Adds the chunk to the unscaled h of `rows` rows, for some of the ranks: whole groups of kFactorRanks.
template <class S>
void shrink_chunk(const ShrinkTerm& term, Range ranks, ShrinkChunk chunk, int32_t rows) {
  const auto& a = static_cast<const PackedFactor&>(*term.a);
  chunk.h += term.h_offset;
  switch (a.dtype) {
    case LoraDType::kBFloat16: return shrink_rows<S, S::kShrinkRows, uint16_t>(chunk, a, ranks, 0, rows);
    case LoraDType::kFloat32: return shrink_rows<S, S::kShrinkRows, float>(chunk, a, ranks, 0, rows);
    case LoraDType::kInt8: return shrink_rows<S, S::kShrinkRows, int8_t>(chunk, a, ranks, 0, rows);
  }
}

// Asks for the first lines of some ranks of A.
static LOWRANK_INLINE void prefetch_shrink(const ShrinkTerm& term, Range ranks) {
  const auto& a = static_cast<const PackedFactor&>(*term.a);
  const uint8_t* const first = a.data.as<uint8_t>() + factor_a_offset(a, ranks.begin, 0) * element_bytes(a.dtype);
  const size_t bytes = static_cast<size_t>(ranks.end - ranks.begin) * static_cast<size_t>(a.stride) * element_bytes(a.dtype);
  for (size_t byte = 0; byte < bytes && byte < kShrinkAhead; byte += 64) prefetch_second_cache(first, byte);
}

// h *= scale * rank_scale, after the last chunk.
static LOWRANK_INLINE void scale_shrunk(const ShrinkTerm& term, Range ranks, float* h, size_t h_stride, int32_t rows) {
  for (int32_t i = 0; i < rows; ++i) {
    float* row = h + static_cast<size_t>(i) * h_stride + term.h_offset;
    for (int32_t r = ranks.begin; r < ranks.end; ++r)
      row[r] *= term.rank_scale == nullptr ? term.scale : term.scale * term.rank_scale[r];
  }
}

}  // namespace lowrank::cpu
