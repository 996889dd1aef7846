// See ops/quantize_shrink.h. A block of 256 threads makes the float rows u of one or a few rows of the batch, a chunk of channels
// at a time; a warp takes a scale group of 128 channels, four a lane. It quantises u in registers; where the row has an adapter,
// u goes to shared memory, too, and the warps share out the ranks of A.
//
// Where there are few rows, several blocks (parts) work on the same: each quantises some of the groups and takes some of the
// ranks. They make u again, which costs less than a device that waits for one block.
#include "cuda/quantize_shrink.h"

#include <algorithm>

#include "cuda/outliers.h"
#include "cuda/quantize_sources.h"
#include "cuda/shrink.h"
#include "quant/int8.h"

namespace lowrank::cuda {
namespace {

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

// The factors of the norm of the block's rows.
template <int kRows>
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

// Grid: blocks of kRows rows; parts.
template <class Source, int kRows>
LOWRANK_KERNEL(kRowThreads, 2) quantize_rows(QuantizeParams<Source> params) {
  using Chunk = ShrinkChunk<kRows>;
  LOWRANK_SHARED(float4, u, kQuantizeFloats / 4);
  LOWRANK_SHARED(QuantizeRow, rows, kRows);
  LOWRANK_SHARED(float, partial, kRows * kRowWarps);
  const int32_t cols = params.out.cols;
  const int32_t first_row = static_cast<int32_t>(blockIdx.x) * kRows;
  const int32_t row_count = min(kRows, params.rows - first_row);
  const auto part = static_cast<int32_t>(blockIdx.y);
  const auto parts = static_cast<int32_t>(gridDim.y);
  const auto thread = static_cast<int32_t>(threadIdx.x);
  if (thread < row_count) begin_row(params, first_row + thread, rows[thread]);
  __syncthreads();
  if constexpr (Source::kNorm) norm_rows<kRows>(rows, partial, row_count, cols, params.source.epsilon);
  bool shrinks = false;
  for (int32_t r = 0; r < row_count; ++r) shrinks = shrinks || rows[r].shrink_count > 0;
  const OutlierLanes outlier_lanes = load_outliers(params.input);

  for (int32_t begin = 0; begin < cols; begin += Chunk::kChannels) {
    const int32_t groups = scale_groups(min(cols - begin, Chunk::kChannels));
    for (int32_t r = 0; r < row_count; ++r) {
      const QuantizeRow row = rows[r];
      const bool whole = row.shrink_count > 0;
      const int32_t step = whole ? 1 : parts;
      for (int32_t i = (warp_index() + 3 * r) % kRowWarps; i * step < groups; i += kRowWarps) {
        const int32_t group = i * step + (whole ? 0 : part);
        if (group >= groups) break;
        const int32_t k = group * kScaleGroup + lane_index() * kLaneChannels;
        const float4 four = params.source.load(row, begin + k, cols);
        if (whole) u[r * (Chunk::kChannels / 4) + swizzled(k / 4)] = four;
        if (group % parts == part)
          write_group(params.input, params.out, outlier_lanes, first_row + r, begin / kScaleGroup + group, four);
      }
    }
    if (!shrinks) continue;
    __syncthreads();
    const bool last = begin + Chunk::kChannels >= cols;
    const int32_t width = min(round_up(cols, kActivationAlignment) - begin, Chunk::kChannels);
    shrink_chunk<kRows>({u, begin, width, last, first_row}, params.adapters, rows, row_count, part * kRowWarps + warp_index(),
                        parts * kRowWarps);
    if (!last) __syncthreads();
  }
}

template <class Source>
void enqueue_rows(Launches& launches, const QuantizeParams<Source>& params) {
  if (params.rows == 0) return;
  const bool adapters = params.adapters.count != nullptr;
  const bool many = adapters && params.rows >= kQuantizeManyRows;
  const int32_t blocks = many ? (params.rows + kQuantizeSharedRows - 1) / kQuantizeSharedRows : params.rows;
  const int32_t useful = adapters ? kQuantizeMaxParts : (scale_groups(params.out.cols) + kRowWarps - 1) / kRowWarps;
  const int32_t parts = std::clamp(launches.device().multiprocessors / blocks, 1, std::min(useful, kQuantizeMaxParts));
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(parts));
  launches.add(many ? quantize_rows<Source, kQuantizeSharedRows> : quantize_rows<Source, 1>, grid, dim3(kRowThreads), 0, params);
}

}  // namespace

void enqueue(Launches& launches, const device::RmsNormQuantizeShrinkParams& params) {
  const NormSource source = {params.x, params.row_index, params.gain, params.x_stride, params.epsilon};
  enqueue_rows<NormSource>(launches, {source, params.input, params.out, params.adapters, params.rows});
}

void enqueue(Launches& launches, const device::QuantizeShrinkParams& params) {
  enqueue_rows<PlainSource>(launches,
                            {{params.x, params.x_stride}, params.input, params.out, params.adapters, params.rows});
}

void enqueue(Launches& launches, const device::GluQuantizeShrinkParams& params) {
  if (params.activation == Activation::kSilu)
    enqueue_rows<GluSource<Activation::kSilu>>(
        launches, {{params.gate_up, params.stride}, params.input, params.out, params.adapters, params.rows});
  else
    enqueue_rows<GluSource<Activation::kGeluTanh>>(
        launches, {{params.gate_up, params.stride}, params.input, params.out, params.adapters, params.rows});
}

}  // namespace lowrank::cuda
