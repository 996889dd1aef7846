// What follows the sum over K of ops/matmul_expand.h, for one tile of rows x 16 columns, in this order for
// every element:
//   v = acc (float)  or  v = sw * acc (int8 weights, float input)  or, for int8 on both sides, group after group,
//   v = fma(sx, sw * float(acc), v) from v = 0
//   s = fma(o[j], C[n, j], s)   from s = 0, j ascending, where the matrix has outlier columns;  v = v + s
//   s = fma(h[r], B[n, r], s)   from s = 0, for the terms in order, r ascending;  v = v + s
//   v = v * g[n];  v = v + bias[n];  v = v + residual[m, n]
// The order knows nothing of the tile's size, so a row's result does not depend on how many rows were beside
// it.
//
// B lies as layout.h says in bfloat16, float32 or int8 (whose scales are in h), so a term whose first column is a multiple of 16
// streams it, one vector for each r or pair of them, shared by the rows of the block. In bfloat16 it is multiplied by bfloat16
// products where the instruction set has them, with h rounded to it, two r at a time; the outlier columns never are. Other
// terms (never seen in real models, whose heads are multiples of 16) are added lane by lane.
#pragma once

#include <type_traits>

#include "cpu/layout.h"
#include "cpu/simd/bfloat16_pairs.h"
#include "cpu/simd/factor_element.h"
#include "cpu/simd/row_runs.h"
#include "ops/matmul_expand.h"

namespace lowrank::cpu {

// sum[i] += h[m + i] B^T for the columns [n, n + 16) that the term covers; B begins at `column`.
template <class S, int Rows, class Element>
LOWRANK_INLINE void expand_floats(const Element* column, int32_t rank, const float* h, size_t h_stride,
                                  typename S::F32 (&sum)[Rows]) {
  const auto add = [&](int32_t r, typename S::F32 values) {
    for (int i = 0; i < Rows; ++i) sum[i] = S::fma(S::set1(h[static_cast<size_t>(i) * h_stride + static_cast<size_t>(r)]), values, sum[i]);
  };
  if constexpr (std::is_same_v<Element, uint16_t>) {
#pragma GCC unroll 4
    for (int32_t r = 0; r < rank; r += 2, column += 2 * kTileRows) {
      const auto pairs = S::int_load(column);
      add(r, first_of_pairs<S>(pairs));
      if (r + 1 < rank) add(r + 1, second_of_pairs<S>(pairs));
    }
  } else {
#pragma GCC unroll 4
    for (int32_t r = 0; r < rank; ++r, column += kTileRows) add(r, load_elements<S>(column));
  }
}

// The same by bfloat16 products, h rounded.
template <class S, int Rows>
LOWRANK_INLINE void expand_pairs(const uint16_t* column, int32_t rank, const float* h, size_t h_stride,
                                 typename S::F32 (&sum)[Rows]) {
  constexpr int32_t kChunk = 32;
  alignas(64) uint16_t halves[Rows][kChunk];
  for (int32_t begin = 0; begin < rank; begin += kChunk) {
    const int32_t count = rank - begin < kChunk ? rank - begin : kChunk;
    for (int i = 0; i < Rows; ++i)
      for (int32_t r = 0; r < count; r += S::kLanes)
        S::store_bfloat16(halves[i] + r, S::load_first(h + static_cast<size_t>(i) * h_stride + static_cast<size_t>(begin + r),
                                                       count - r < S::kLanes ? count - r : S::kLanes));
#pragma GCC unroll 8
    for (int32_t r = 0; r < count; r += 2, column += 2 * kTileRows) {
      const auto values = S::int_load(column);
      for (int i = 0; i < Rows; ++i) sum[i] = S::dot_bfloat16(sum[i], values, broadcast_pair<S>(halves[i] + r));
    }
  }
}

// h as it is multiplied.
template <class S, class Element>
LOWRANK_INLINE float expanded_input(float h) {
  uint16_t halves[S::kLanes];
  if constexpr (S::kBFloat16LowRank && std::is_same_v<Element, uint16_t>) return S::first(S::store_bfloat16(halves, S::set1(h)));
  return h;
}

template <class S, int Rows, class Element>
void expand_by_lane(const PackedFactor& b, const float* h, size_t h_stride, int32_t local,
                    typename S::F32 (&sum)[Rows]) {
  const int32_t begin = local < 0 ? -local : 0;
  const int32_t end = b.dimension - local < kTileRows ? b.dimension - local : kTileRows;
  for (int i = 0; i < Rows; ++i) {
    const float* const row = h + static_cast<size_t>(i) * h_stride;
    float lanes[kTileRows];
    S::store(lanes, sum[i]);
    for (int32_t lane = begin; lane < end; ++lane)
      for (int32_t r = 0; r < b.rank; ++r)
        lanes[lane] = __builtin_fmaf(expanded_input<S, Element>(row[r]), widen_element(b.data.as<Element>()[factor_b_offset(b, local + lane, r)]),
                                     lanes[lane]);
    sum[i] = S::load(lanes);
  }
}

template <class S, int Rows, class Element>
LOWRANK_INLINE void expand(const PackedFactor& b, const float* h, size_t h_stride, int32_t local, bool aligned,
                           typename S::F32 (&sum)[Rows]) {
  if (!aligned) return expand_by_lane<S, Rows, Element>(b, h, h_stride, local, sum);
  const Element* const column = b.data.as<Element>() + factor_b_offset(b, local, 0);
  if constexpr (S::kBFloat16LowRank && std::is_same_v<Element, uint16_t>)
    expand_pairs<S, Rows>(column, b.rank, h, h_stride, sum);
  else
    expand_floats<S, Rows>(column, b.rank, h, h_stride, sum);
}

template <class S, int Rows>
LOWRANK_INLINE void add_expand_terms(const MatmulExpandArgs& args, const AdapterRows& segment, int32_t m,
                                     int32_t n, typename S::F32 (&value)[Rows]) {
  const auto h_stride = static_cast<size_t>(args.adapters.h_stride);
  typename S::F32 sum[Rows];
  for (int i = 0; i < Rows; ++i) sum[i] = S::zero();
  for (int32_t i = 0; i < segment.expand_count; ++i) {
    const ExpandTerm& term = segment.expand[i];
    const auto& b = static_cast<const PackedFactor&>(*term.b);
    const int32_t local = n - term.n_begin;  // the term's own index of column n
    if (local <= -kTileRows || local >= b.dimension) continue;
    const float* h = args.adapters.h + static_cast<size_t>(m) * h_stride + term.h_offset;
    // Lanes behind the term's last column belong to other projections, unless the matrix ends there, too.
    const bool whole = local + kTileRows <= b.dimension || n + kTileRows >= args.w->rows;
    const bool aligned = local >= 0 && local % kTileRows == 0 && whole;
    switch (b.dtype) {
      case LoraDType::kBFloat16: expand<S, Rows, uint16_t>(b, h, h_stride, local, aligned, sum); break;
      case LoraDType::kFloat32: expand<S, Rows, float>(b, h, h_stride, local, aligned, sum); break;
      case LoraDType::kInt8: expand<S, Rows, int8_t>(b, h, h_stride, local, aligned, sum); break;
    }
  }
  for (int i = 0; i < Rows; ++i) value[i] = S::add(value[i], sum[i]);
}

// `Rows` rows from m on, all of one run, columns [n, n + 16).
template <class S, int Rows>
LOWRANK_INLINE void finish_block(const MatmulExpandArgs& args, const AdapterRows* segment, int32_t m,
                                 int32_t n, const float* sums, size_t sums_stride) {
  using F = typename S::F32;
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  const int32_t columns = w.rows - n < kTileRows ? w.rows - n : kTileRows;
  F value[Rows];
  for (int i = 0; i < Rows; ++i) value[i] = S::load(sums + static_cast<size_t>(i) * sums_stride);
  if (is_quantized(w.scheme.weights) && w.scheme.activations == ActivationFormat::kFloat32) {
    const F weight_scale = S::load(w.scale.as<float>() + n);
    for (int i = 0; i < Rows; ++i) value[i] = S::mul(weight_scale, value[i]);
  }
  if (w.outlier_columns != nullptr) {
    F sum[Rows];
    for (int i = 0; i < Rows; ++i) sum[i] = S::zero();
    const auto& columns = static_cast<const PackedFactor&>(*w.outlier_columns);
    expand_floats<S, Rows>(columns.data.as<uint16_t>() + factor_b_offset(columns, n, 0), columns.rank,
                           args.x.outliers + static_cast<size_t>(m) * kMaxOutliers, kMaxOutliers, sum);
    for (int i = 0; i < Rows; ++i) value[i] = S::add(value[i], sum[i]);
  }
  const float* bias = args.bias;
  if (segment != nullptr) {
    add_expand_terms<S, Rows>(args, *segment, m, n, value);
    if (segment->output_gain != nullptr) {
      const F gain = S::load_first(segment->output_gain + n, columns);
      for (int i = 0; i < Rows; ++i) value[i] = S::mul(value[i], gain);
    }
    if (segment->bias != nullptr) bias = segment->bias;
  }
  if (bias != nullptr) {
    const F added = S::load_first(bias + n, columns);
    for (int i = 0; i < Rows; ++i) value[i] = S::add(value[i], added);
  }
  for (int i = 0; i < Rows; ++i) {
    const size_t offset =
        static_cast<size_t>(m + i) * static_cast<size_t>(args.y_stride) + static_cast<size_t>(n);
    if (args.residual != nullptr) value[i] = S::add(value[i], S::load_first(args.residual + offset, columns));
    if (columns == kTileRows)
      S::store(args.y + offset, value[i]);
    else
      S::store_first(args.y + offset, value[i], columns);
  }
}

// Rows of one run, in blocks of `Rows`, then of the half of that.
template <class S, int Rows>
LOWRANK_INLINE void finish_run(const MatmulExpandArgs& args, const AdapterRows* segment, int32_t m,
                               int32_t end, int32_t n, const float* sums, size_t sums_stride) {
  for (; end - m >= Rows; m += Rows, sums += Rows * sums_stride)
    finish_block<S, Rows>(args, segment, m, n, sums, sums_stride);
  if constexpr (Rows > 1) finish_run<S, Rows / 2>(args, segment, m, end, n, sums, sums_stride);
}

// Rows [m, end), columns [n, n + 16 * tiles). sums: [end - m][16 * tiles]. cursor: see row_run.
template <class S>
void finish_tile(const MatmulExpandArgs& args, int32_t cursor, int32_t m, int32_t end, int32_t n, int tiles,
                 const float* sums) {
  const auto sums_stride = static_cast<size_t>(tiles) * kTileRows;
  while (m < end) {
    const RowRun run = row_run(args.adapters, cursor, m, end);
    for (int t = 0; t < tiles; ++t)
      finish_run<S, S::kExpandRows>(args, run.segment, m, run.end, n + t * kTileRows, sums + t * kTileRows,
                                    sums_stride);
    sums += static_cast<size_t>(run.end - m) * sums_stride;
    m = run.end;
  }
}

}  // namespace lowrank::cpu
