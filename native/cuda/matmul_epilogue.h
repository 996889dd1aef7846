// What follows the sum over K of an int8 product, for 16 rows in fragments (see matmul_low_rank.h), in this order for
// every element:
//   v = product;  v = v + outlier part;  v = v + low-rank part;  v = v * g[n];  v = v + bias[n];  v = v + residual[m, n]
// A row's part comes from its own data alone, so it does not depend on the rows beside it, nor on the kernel.
#pragma once

#include "cuda/matmul_low_rank.h"
#include "device/params/matmul_expand.h"

namespace lowrank::cuda {

// sum += o C^T for the rows of the tile before row_end.
template <int Fragments>
LOWRANK_DEVICE void add_outliers(float (&sum)[Fragments][4], const device::MatmulExpandParams& p, int32_t m, int32_t n) {
  if (p.w.outlier_columns == nullptr) return;
  const int32_t count = p.row_end - m;
  const uint32_t rows = count >= 16 ? 0xffffu : (1u << count) - 1u;
  const ExpandFactor<uint16_t> columns = {p.w.outlier_columns, kMaxOutliers, p.w.outlier_count, p.w.rows};
  add_products(sum, rows, p.x.outliers + static_cast<int64_t>(m) * kMaxOutliers, kMaxOutliers, columns, n);
}

template <int Fragments>
LOWRANK_DEVICE void add_fragments(float (&to)[Fragments][4], const float (&from)[Fragments][4]) {
#pragma unroll
  for (int32_t j = 0; j < Fragments; ++j)
#pragma unroll
    for (int32_t i = 0; i < 4; ++i) to[j][i] += from[j][i];
}

LOWRANK_DEVICE float finished(float value, int32_t n, const float* gain, const float* bias) {
  if (gain != nullptr) value *= __ldg(gain + n);
  if (bias != nullptr) value += __ldg(bias + n);
  return value;
}

// Two columns from n on, n even; the second may lie behind the matrix. Each thread reads the residual where it will write,
// since it may be y.
LOWRANK_DEVICE void store_pair(const device::MatmulExpandParams& p, int64_t row_at, int32_t n, float first, float second,
                               const float* gain, const float* bias, bool aligned) {
  if (n >= p.w.rows) return;
  const int64_t at = row_at + n;
  first = finished(first, n, gain, bias);
  if (n + 1 == p.w.rows) {
    p.y[at] = p.residual == nullptr ? first : first + p.residual[at];
    return;
  }
  second = finished(second, n + 1, gain, bias);
  if (aligned) {  // whole sectors of 32 bytes
    if (p.residual != nullptr) {
      const float2 residual = *reinterpret_cast<const float2*>(p.residual + at);
      first += residual.x;
      second += residual.y;
    }
    *reinterpret_cast<float2*>(p.y + at) = make_float2(first, second);
    return;
  }
  p.y[at] = p.residual == nullptr ? first : first + p.residual[at];
  p.y[at + 1] = p.residual == nullptr ? second : second + p.residual[at + 1];
}

// The rest of the epilogue, and the store. segment: see lane_segment.
template <int Fragments>
LOWRANK_DEVICE void store_fragments(const device::MatmulExpandParams& p, int32_t segment, int32_t m, int32_t n,
                                    const float (&value)[Fragments][4]) {
  const auto address = reinterpret_cast<uint64_t>(p.y) | reinterpret_cast<uint64_t>(p.residual);
  const bool aligned = (address % sizeof(float2)) == 0 && p.y_stride % 2 == 0;
#pragma unroll
  for (int32_t half = 0; half < 2; ++half) {
    const int32_t row = lane_index() / 4 + 8 * half;
    const int32_t row_segment = __shfl_sync(kWholeWarp, segment, row);
    if (m + row >= p.row_end) continue;
    const float* gain = nullptr;
    const float* bias = p.bias;
    if (row_segment >= 0) {
      const device::AdapterRows& at = p.adapters.rows[row_segment];
      gain = at.output_gain;
      if (at.bias != nullptr) bias = at.bias;
    }
    const int64_t row_at = static_cast<int64_t>(m + row) * p.y_stride;
#pragma unroll
    for (int32_t j = 0; j < Fragments; ++j)
      store_pair(p, row_at, n + 8 * j + 2 * (lane_index() % 4), value[j][2 * half], value[j][2 * half + 1], gain, bias, aligned);
  }
}

// The whole epilogue of a warp that has all of a tile.
template <int Fragments>
LOWRANK_DEVICE void finish_fragments(const device::MatmulExpandParams& p, int32_t m, int32_t n, float (&value)[Fragments][4]) {
  if (m >= p.row_end || n >= p.w.rows) return;
  const int32_t segment = lane_segment(p.adapters, m, p.row_end);
  if (p.w.outlier_columns != nullptr) {
    float part[Fragments][4] = {};
    add_outliers(part, p, m, n);
    add_fragments(value, part);
  }
  if (__any_sync(kWholeWarp, segment >= 0)) {
    float part[Fragments][4] = {};
    add_expand(part, p.adapters, segment, m, n, 0, 1);
    add_fragments(value, part);
  }
  store_fragments(p, segment, m, n, value);
}

}  // namespace lowrank::cuda
