// h[m, r] = scale * sum_k u[m, k] A[r, k], the LoRA shrink of ops/quantize_shrink.h, for a few rows of one
// adapter.
//
// A lies as [rank][ceil64(K)] in bfloat16 or float32. Tiles of rows x ranks share their loads: 4 x 4
// accumulators of 16 lanes, each lane summing every 16th k in ascending order, lanes added in halves at the
// end; so the order of one sum knows neither rows nor ranks beside it. K is taken in the chunks of the
// caller, whose sums are added in order.
#pragma once

#include "cpu/layout.h"
#include "cpu/simd/force_inline.h"
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

template <class S>
LOWRANK_INLINE typename S::F32 load_element(const float* p) {
  return S::load(p);
}
template <class S>
LOWRANK_INLINE typename S::F32 load_element(const uint16_t* p) {
  return S::load_bfloat16(p);
}

template <class S, int Rows, int Ranks, class Element>
LOWRANK_INLINE void shrink_tile(const ShrinkChunk& chunk, const Element* a, size_t a_stride, int32_t row,
                                int32_t r) {
  using F = typename S::F32;
  F sum[Rows][Ranks];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) sum[i][j] = S::zero();
  const float* u = chunk.u + static_cast<size_t>(row) * chunk.u_stride;
  a += static_cast<size_t>(r) * a_stride + static_cast<size_t>(chunk.k_begin);
  for (size_t k = 0; k < static_cast<size_t>(chunk.k_count); k += S::kLanes) {
    F weights[Ranks];
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) weights[j] = load_element<S>(a + static_cast<size_t>(j) * a_stride + k);
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
LOWRANK_INLINE void shrink_rows(const ShrinkChunk& chunk, const Element* a, size_t a_stride, Range ranks,
                                int32_t row, int32_t rows) {
  for (; rows - row >= Rows; row += Rows) {
    int32_t r = ranks.begin;
    for (; r + S::kShrinkRanks <= ranks.end; r += S::kShrinkRanks)
      shrink_tile<S, Rows, S::kShrinkRanks>(chunk, a, a_stride, row, r);
    for (; r < ranks.end; ++r) shrink_tile<S, Rows, 1>(chunk, a, a_stride, row, r);
  }
  if constexpr (Rows > 1) shrink_rows<S, Rows / 2>(chunk, a, a_stride, ranks, row, rows);
}

// Adds the chunk to the unscaled h of `rows` rows, for some of the ranks.
template <class S>
void shrink_chunk(const ShrinkTerm& term, Range ranks, ShrinkChunk chunk, int32_t rows) {
  const auto& a = static_cast<const PackedFactor&>(*term.a);
  chunk.h += term.h_offset;
  const auto a_stride = static_cast<size_t>(a.stride);
  if (a.bfloat16)
    shrink_rows<S, S::kShrinkRows>(chunk, a.data.as<uint16_t>(), a_stride, ranks, 0, rows);
  else
    shrink_rows<S, S::kShrinkRows>(chunk, a.data.as<float>(), a_stride, ranks, 0, rows);
}

// h *= scale, after the last chunk.
static LOWRANK_INLINE void scale_shrunk(const ShrinkTerm& term, Range ranks, float* h, size_t h_stride, int32_t rows) {
  for (int32_t i = 0; i < rows; ++i) {
    float* row = h + static_cast<size_t>(i) * h_stride + term.h_offset;
    for (int32_t r = ranks.begin; r < ranks.end; ++r) row[r] *= term.scale;
  }
}

}  // namespace lowrank::cpu
