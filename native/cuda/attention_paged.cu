#include "cuda/attention_paged.h"

#include "cuda/attention_rows.h"
#include "cuda/attention_tiles.h"

namespace lowrank::cuda {

using device::AttentionPagedParams;

// Grid: rows * heads. Merges a row's splits in ascending order.
LOWRANK_KERNEL(kMergeThreads, 4) attention_merge(AttentionPagedParams params) {
  constexpr int kDims = kMaxHeadDim / kMergeThreads;  // of a thread
  const int32_t row = static_cast<int32_t>(blockIdx.x) / params.heads;
  const int32_t head = static_cast<int32_t>(blockIdx.x) % params.heads;
  const int32_t position = params.tables.positions[row];
  const int32_t last = position / kAttentionSplit;
  float largest = -INFINITY;
  float sum = 0.0f;
  float total[kDims] = {};
  for (int32_t split = first_key(position, params.window) / kAttentionSplit; split <= last; ++split) {
    const size_t state = partial_state(params, row, head, split);
    const Merge by = merge(largest, params.partial_sums[2 * state]);
    largest = by.largest;
    sum = merged(by, sum, params.partial_sums[2 * state + 1]);
    const float* values = params.partial_values + state * static_cast<size_t>(params.head_dim);
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      const int32_t dim = static_cast<int32_t>(threadIdx.x) + i * kMergeThreads;
      if (dim < params.head_dim) total[i] = merged(by, total[i], values[dim]);
    }
  }
  float* out = params.out + static_cast<size_t>(row) * static_cast<size_t>(params.out_stride) +
               static_cast<size_t>(head) * static_cast<size_t>(params.head_dim);
#pragma unroll
  for (int i = 0; i < kDims; ++i) {
    const int32_t dim = static_cast<int32_t>(threadIdx.x) + i * kMergeThreads;
    if (dim < params.head_dim) out[dim] = total[i] / sum;
  }
}

namespace {

uint32_t count(int32_t value) { return static_cast<uint32_t>(value); }

template <int kWidth, bool kInt8, bool kNarrow>
void add_tiles(Launches& launches, const AttentionPagedParams& params) {
  using Tiling = AttentionTiling<kWidth, kInt8, kNarrow>;
  const dim3 grid(count(params.tile_count), count(params.kv_heads), kNarrow ? count(params.splits) : 1);
  launches.add(attention_tiles<kWidth, kInt8, kNarrow>, grid, dim3(Tiling::kThreads), Tiling::kSharedBytes, params);
}

template <int kWidth>
void add_tiles(Launches& launches, const AttentionPagedParams& params) {
  const bool narrow = params.tile_slots == device::kNarrowTile;
  if (params.cache.format == KvFormat::kInt8)
    narrow ? add_tiles<kWidth, true, true>(launches, params) : add_tiles<kWidth, true, false>(launches, params);
  else
    narrow ? add_tiles<kWidth, false, true>(launches, params) : add_tiles<kWidth, false, false>(launches, params);
}

template <KvFormat kFormat>
void add_rows(Launches& launches, const AttentionPagedParams& params) {
  const dim3 grid(count(params.rows * params.heads), params.splits > 0 ? count(params.splits) : 1);
  if (params.head_dim <= 128)
    launches.add(attention_rows<kFormat, 4>, grid, dim3(kWarpLanes), 0, params);
  else
    launches.add(attention_rows<kFormat, kMaxHeadDim / kWarpLanes>, grid, dim3(kWarpLanes), 0, params);
}

}  // namespace

void enqueue(Launches& launches, const AttentionPagedParams& params) {
  if (params.tile_slots != 0) {
    if (params.head_dim <= kTileWidths[0])
      add_tiles<kTileWidths[0]>(launches, params);
    else if (params.head_dim <= kTileWidths[1])
      add_tiles<kTileWidths[1]>(launches, params);
    else
      add_tiles<kTileWidths[2]>(launches, params);
  } else if (params.cache.format == KvFormat::kInt8) {
    add_rows<KvFormat::kInt8>(launches, params);
  } else if (params.cache.format == KvFormat::kBFloat16) {
    add_rows<KvFormat::kBFloat16>(launches, params);
  } else {
    add_rows<KvFormat::kFloat32>(launches, params);
  }
  if (params.splits > 1)
    launches.add(attention_merge, dim3(count(params.rows * params.heads)), dim3(kMergeThreads), 0, params);
}

}  // namespace lowrank::cuda
