// What the kernels of the quantise ops have in common: how a block begins its rows, and how a warp quantises a scale group of 128
// channels, four a lane, in registers. See ops/quantize_shrink.h.
#pragma once

#include "cuda/outliers.h"
#include "cuda/quantize_sources.h"
#include "quant/int8.h"

namespace lowrank::cuda {

template <class Source>
struct QuantizeParams {
  Source source;
  device::InputTransform input;
  device::Activations out;
  device::AdapterSegments adapters;
  int32_t rows;
};

// Warp-wide. u's four channels from `k` on, of the group that begins at `begin`, become v: ops/quantize_shrink.h.
LOWRANK_DEVICE void transform_group(const device::InputTransform& input, const OutlierLanes& outlier_lanes, float* outliers,
                                    int32_t stride, int32_t begin, int32_t k, float (&v)[kLaneChannels]) {
  if (input.outlier_count != 0)
    visit_outliers(outlier_lanes, begin, [&](int32_t j, int32_t channel) {
#pragma unroll
      for (int i = 0; i < kLaneChannels; ++i) {
        if (channel != k + i) continue;
        outliers[j] = v[i];
        v[i] = 0.0f;
      }
    });
  if (input.smoothing != nullptr && k < stride) {
    const float4 factors = load_four(input.smoothing, k, stride);
    v[0] *= factors.x;
    v[1] *= factors.y;
    v[2] *= factors.z;
    v[3] *= factors.w;
  }
  if (input.rotated != 0) rotate_blocks(v);
}

// Warp-wide. Writes group `group` of row m.
LOWRANK_DEVICE void write_group(const device::InputTransform& input, const device::Activations& out,
                                const OutlierLanes& outlier_lanes, int32_t m, int32_t group, const float4& u) {
  const int32_t begin = group * kScaleGroup;
  const int32_t k = begin + lane_index() * kLaneChannels;
  const int64_t at = int64_t{m} * out.stride + k;
  if (out.format == ActivationFormat::kFloat32) {
    if (k < out.stride) *reinterpret_cast<float4*>(out.values + at) = u;
    return;
  }
  float v[] = {u.x, u.y, u.z, u.w};
  transform_group(input, outlier_lanes, out.outliers + int64_t{m} * kMaxOutliers, out.stride, begin, k, v);
  const uint32_t largest =
      max(max(magnitude_bits(v[0]), magnitude_bits(v[1])), max(magnitude_bits(v[2]), magnitude_bits(v[3])));
  const Int8Scale scale = int8_scale(__reduce_max_sync(kWholeWarp, largest));
  uint32_t packed = 0;
#pragma unroll
  for (int i = 0; i < kLaneChannels; ++i) {
    const int8_t q = scale.inverse == 0.0f ? int8_t{0} : quantize_int8(v[i], scale.inverse);
    packed |= static_cast<uint32_t>(static_cast<uint8_t>(q)) << (8 * i);
  }
  if (k < out.stride) *reinterpret_cast<uint32_t*>(out.q + at) = packed;
  if (lane_index() == 0) out.scale[int64_t{m} * scale_groups(out.cols) + group] = scale.scale;
}

template <class Source>
LOWRANK_DEVICE void begin_row(const QuantizeParams<Source>& params, int32_t m, QuantizeRow& row) {
  row.segment = params.adapters.count == nullptr ? -1 : params.adapters.segment_of_row[m];
  row.shrink_count = 0;
  const float* own_gain = nullptr;
  if (row.segment >= 0) {
    const device::AdapterRows& segment = params.adapters.rows[row.segment];
    row.shrink = segment.shrink;
    row.shrink_count = segment.shrink_count;
    own_gain = segment.norm_gain;
  }
  params.source.begin(row, m, own_gain);
}

// Block-wide. The factors of the norm of `row_count` rows, from partial sums in partial [row_count * kRowWarps].
LOWRANK_DEVICE void norm_rows(QuantizeRow* rows, float* partial, int32_t row_count, int32_t cols, float epsilon) {
  for (int32_t r = 0; r < row_count; ++r) {
    const float sum = sum_of_warp(squares_of_thread(rows[r].x, cols));
    if (lane_index() == 0) partial[r * kRowWarps + warp_index()] = sum;
  }
  __syncthreads();
  const auto r = static_cast<int32_t>(threadIdx.x);
  if (r < row_count) rows[r].factor = norm_factor(sum_of_warps(partial + r * kRowWarps), cols, epsilon);
  __syncthreads();
}

}  // namespace lowrank::cuda
