// See ops/embed_gather.h. A warp takes a scale group of 128 channels of a row, four a lane.
#include "cuda/embed_gather.h"

#include "core/float16.h"
#include "cuda/outliers.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kWarps = 8;

// Weights [row, k … k + 3] as they are held, before the inverse of the input transform; 0 beyond the stride.
LOWRANK_DEVICE void load_held(const device::Matrix& matrix, int32_t row, int32_t k, float (&v)[kLaneChannels]) {
#pragma unroll
  for (float& value : v) value = 0.0f;
  if (k >= matrix.stride) return;
  const int64_t at = int64_t{row} * matrix.stride + k;
  if (matrix.format == WeightFormat::kInt8) {
    const int64_t group = int64_t{row} * scale_groups(matrix.cols) + k / kScaleGroup;
    const float scale = matrix.activation == ActivationFormat::kInt8
                            ? bfloat16_to_float32(static_cast<const uint16_t*>(matrix.scale)[group])
                            : static_cast<const float*>(matrix.scale)[row];
    const uint32_t packed = *reinterpret_cast<const uint32_t*>(static_cast<const int8_t*>(matrix.data) + at);
#pragma unroll
    for (int i = 0; i < kLaneChannels; ++i) v[i] = static_cast<float>(static_cast<int8_t>(packed >> (8 * i))) * scale;
  } else if (matrix.format == WeightFormat::kBFloat16) {
    const uint2 packed = *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(matrix.data) + at);
    v[0] = bfloat16_to_float32(static_cast<uint16_t>(packed.x));
    v[1] = bfloat16_to_float32(static_cast<uint16_t>(packed.x >> 16));
    v[2] = bfloat16_to_float32(static_cast<uint16_t>(packed.y));
    v[3] = bfloat16_to_float32(static_cast<uint16_t>(packed.y >> 16));
  } else {
    const float4 values = *reinterpret_cast<const float4*>(static_cast<const float*>(matrix.data) + at);
    v[0] = values.x;
    v[1] = values.y;
    v[2] = values.z;
    v[3] = values.w;
  }
}

// Warp-wide. The logical weights of `row` from channel `begin` on, a scale group.
LOWRANK_DEVICE void load_logical(const device::EmbeddingTable& table, int32_t row, int32_t begin, float (&v)[kLaneChannels]) {
  const int32_t k = begin + lane_index() * kLaneChannels;
  load_held(table.matrix, row, k, v);
  if (table.input.rotated != 0) rotate_blocks(v);
  if (table.input.smoothing != nullptr && k < table.matrix.stride) {
    const float4 factors = load_four(table.input.smoothing, k, table.matrix.stride);
    v[0] *= factors.x;
    v[1] *= factors.y;
    v[2] *= factors.z;
    v[3] *= factors.w;
  }
  if (table.input.outlier_count == 0) return;
  visit_outliers(load_outliers(table.input), begin, [&](int32_t j, int32_t channel) {
#pragma unroll
    for (int i = 0; i < kLaneChannels; ++i)
      if (channel == k + i) v[i] = bfloat16_to_float32(table.matrix.outlier_columns[int64_t{row} * kMaxOutliers + j]);
  });
}

// v += sum of r over the terms, in order, of scale * A[token, r] * B[k …, r]
LOWRANK_DEVICE void add_terms(const device::EmbeddingRows& segment, int32_t token, int32_t k, int32_t hidden,
                              float (&v)[kLaneChannels]) {
  float sum[kLaneChannels] = {};
  for (int32_t t = 0; t < segment.term_count; ++t) {
    const device::EmbeddingTerm& term = segment.terms[t];
    const float* a = term.a + int64_t{token} * term.rank;
    const float* b = term.b + int64_t{k} * term.rank;
    for (int32_t r = 0; r < term.rank; ++r) {
      const float h = term.scale * __ldg(a + r);
#pragma unroll
      for (int i = 0; i < kLaneChannels; ++i)
        if (k + i < hidden) sum[i] += h * __ldg(b + int64_t{i} * term.rank + r);
    }
  }
#pragma unroll
  for (int i = 0; i < kLaneChannels; ++i) v[i] += sum[i];
}

// Grid: rows; scale groups of the hidden channels, kWarps a block.
LOWRANK_KERNEL(kWarps * kWarpLanes, 2) embed_gather(device::EmbedGatherParams params) {
  const auto row = static_cast<int32_t>(blockIdx.x);
  const int32_t hidden = params.table.matrix.cols;
  const int32_t begin = (static_cast<int32_t>(blockIdx.y) * kWarps + warp_index()) * kScaleGroup;
  if (begin >= hidden) return;
  const int32_t k = begin + lane_index() * kLaneChannels;
  const int32_t token = params.tokens[row];
  const int32_t index = params.segment_of_row == nullptr ? -1 : params.segment_of_row[row];
  const device::EmbeddingRows* segment = index < 0 ? nullptr : params.segments + index;

  float v[kLaneChannels];
  if (segment != nullptr && segment->table.matrix.data != nullptr)
    load_logical(segment->table, token, begin, v);
  else
    load_logical(params.table, token, begin, v);
  float4 gain = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
  if (segment != nullptr) {
    add_terms(*segment, token, k, hidden, v);
    if (segment->output_gain != nullptr) gain = load_four(segment->output_gain, k, hidden);
  }
  const float multiplier = params.multiplier;
  store_four(params.x + int64_t{row} * hidden, k, hidden,
             make_float4(v[0] * gain.x * multiplier, v[1] * gain.y * multiplier, v[2] * gain.z * multiplier,
                         v[3] * gain.w * multiplier));
}

}  // namespace

void enqueue(Launches& launches, const device::EmbedGatherParams& params) {
  if (params.rows == 0) return;
  const int32_t groups = scale_groups(params.table.matrix.cols);
  launches.add(embed_gather, dim3(static_cast<unsigned>(params.rows), static_cast<unsigned>((groups + kWarps - 1) / kWarps)),
               dim3(kWarps * kWarpLanes), 0, params);
}

}  // namespace lowrank::cuda
