// h[m, r] = scale * rank_scale[r] * sum_k u[m, k] A[r, k], the LoRA shrink of ops/quantize_shrink.h, for a few rows of
// one adapter.
//
// A lies as [rank/4][ceil64(K)/width][4][width] in bfloat16, float32 or int8 (layout.h). Bfloat16 is multiplied by bfloat16
// products where the instruction set has them, with u rounded to it; else A is widened to float32 in registers. Tiles of
// rows x ranks share their loads: 4 x 4 accumulators of 16 lanes, each lane summing every 16th k (or pair of them) in ascending
// order, lanes added in halves at the end; so the order of one sum knows neither rows nor ranks beside it. K is taken in the
// chunks of the caller, whose sums are added in order.
#pragma once

#include <type_traits>

#include "cpu/layout.h"
#include "cpu/simd/factor_element.h"
#include "cpu/simd/prefetch.h"
#include "cpu/simd/shrink_order.h"
#include "ops/types.h"

namespace lowrank::cpu {

struct ShrinkChunk {
  const float* u;         // [rows][u_stride], zero from the row's end to a multiple of 64
  const uint16_t* halves; // the same in bfloat16, for factors that are multiplied so
  size_t u_stride;
  int32_t k_begin;  // where the chunk begins in A
  int32_t k_count;
  float* h;  // h of the first row and of r = 0
  size_t h_stride;
};

// Bytes of A under way ahead of its reading.
inline constexpr size_t kShrinkAhead = 8192;

template <class Element>
inline constexpr int kElementWidth = factor_a_width(std::is_same_v<Element, uint16_t> ? LoraDType::kBFloat16 : LoraDType::kFloat32);

// Adds the products of `Rows` rows and `Ranks` ranks over one width of A; u: of the first row, in the chunk.
template <class S, int Rows, int Ranks, class Element>
LOWRANK_INLINE void add_products(const ShrinkChunk& chunk, size_t u, const Element* a, typename S::F32 (&sum)[Rows][Ranks]) {
  constexpr int kWidth = kElementWidth<Element>;
  if constexpr (S::kBFloat16LowRank && std::is_same_v<Element, uint16_t>) {
    typename S::I32 weights[Ranks];
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) weights[j] = S::int_load(a + j * kWidth);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const auto input = S::int_load(chunk.halves + u + static_cast<size_t>(i) * chunk.u_stride);
#pragma GCC unroll 8
      for (int j = 0; j < Ranks; ++j) sum[i][j] = S::dot_bfloat16(sum[i][j], input, weights[j]);
    }
  } else {
#pragma GCC unroll 2
    for (int part = 0; part < kWidth; part += S::kLanes) {
      typename S::F32 weights[Ranks];
#pragma GCC unroll 8
      for (int j = 0; j < Ranks; ++j) weights[j] = load_elements<S>(a + j * kWidth + part);
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) {
        const auto input = S::load(chunk.u + u + static_cast<size_t>(i) * chunk.u_stride + part);
#pragma GCC unroll 8
        for (int j = 0; j < Ranks; ++j) sum[i][j] = S::fma(input, weights[j], sum[i][j]);
      }
    }
  }
}

// `group`: A's group of ranks at column 0, which has `ranks` ranks; the tile takes `Ranks` of them from r on, of all of A. Asks
// for what lies `ahead` bytes behind what it reads.
template <class S, int Rows, int Ranks, class Element>
LOWRANK_INLINE void shrink_tile(const ShrinkChunk& chunk, const Element* group, size_t ranks, int32_t row, int32_t r,
                                size_t ahead) {
  using F = typename S::F32;
  constexpr size_t kWidth = kElementWidth<Element>;
  F sum[Rows][Ranks];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Ranks; ++j) sum[i][j] = S::zero();
  const Element* a = group + static_cast<size_t>(chunk.k_begin) * ranks + static_cast<size_t>(r % kFactorRanks) * kWidth;
  size_t u = static_cast<size_t>(row) * chunk.u_stride;
  for (size_t k = 0; k < static_cast<size_t>(chunk.k_count); k += kWidth, u += kWidth, a += ranks * kWidth) {
    for (size_t byte = 0; byte < Ranks * kWidth * sizeof(Element); byte += 64) prefetch_far(a, ahead + byte);
    add_products<S, Rows, Ranks>(chunk, u, a, sum);
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

// `order`: stands at what is to be prefetched while the first group is read; null where A is in the cache.
template <class S, int Rows, class Element>
LOWRANK_INLINE void shrink_rows(const ShrinkChunk& chunk, const PackedFactor& a, Range ranks, int32_t row, int32_t rows,
                                ShrinkOrder* order) {
  static_assert(kFactorRanks % S::kShrinkRanks == 0 && S::kLanes == kTileRows);
  for (; rows - row >= Rows; row += Rows, order = nullptr)
    for (int32_t r = ranks.begin; r < ranks.end;) {
      const Element* group = a.data.as<Element>() + factor_a_offset(a, r / kFactorRanks * kFactorRanks, 0);
      const int32_t width = group_ranks(a, r);
      const int32_t end = r / kFactorRanks * kFactorRanks + width;
      const uint8_t* const next = order == nullptr ? nullptr : order->next();
      const auto here = reinterpret_cast<uintptr_t>(group + static_cast<size_t>(chunk.k_begin) * static_cast<size_t>(width));
      const size_t ahead = next == nullptr ? 0 : reinterpret_cast<uintptr_t>(next) - here;
      for (; r + S::kShrinkRanks <= end; r += S::kShrinkRanks)
        shrink_tile<S, Rows, S::kShrinkRanks>(chunk, group, static_cast<size_t>(width), row, r, ahead);
      for (; r < end; ++r) shrink_tile<S, Rows, 1>(chunk, group, static_cast<size_t>(width), row, r, ahead);
    }
  if constexpr (Rows > 1) shrink_rows<S, Rows / 2, Element>(chunk, a, ranks, row, rows, order);
}

// Adds the chunk to the unscaled h of `rows` rows, for some of the ranks: whole groups of kFactorRanks.
template <class S>
void shrink_chunk(const ShrinkTerm& term, Range ranks, ShrinkChunk chunk, int32_t rows, ShrinkOrder* order) {
  const auto& a = static_cast<const PackedFactor&>(*term.a);
  chunk.h += term.h_offset;
  switch (a.dtype) {
    case LoraDType::kBFloat16: return shrink_rows<S, S::kShrinkRows, uint16_t>(chunk, a, ranks, 0, rows, order);
    case LoraDType::kFloat32: return shrink_rows<S, S::kShrinkRows, float>(chunk, a, ranks, 0, rows, order);
    case LoraDType::kInt8: return shrink_rows<S, S::kShrinkRows, int8_t>(chunk, a, ranks, 0, rows, order);
  }
}

// Prefetches the first groups of a segment of which nothing was prefetched yet, and leaves `order` behind them.
static LOWRANK_INLINE void begin_segment(ShrinkOrder& order, const AdapterRows* segment, int32_t cols) {
  const auto& a = static_cast<const PackedFactor&>(*segment->shrink->a);
  const size_t bytes = static_cast<size_t>(cols < kQuantizeChunk ? cols : kQuantizeChunk) * kFactorRanks * element_bytes(a.dtype);
  order.go_to(segment);
  for (size_t fetched = 0; fetched < kShrinkAhead; fetched += bytes) {
    const uint8_t* const group = order.next();
    if (group == nullptr) return;
    for (size_t byte = 0; byte < bytes; byte += 64) prefetch_far(group, byte);
  }
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
