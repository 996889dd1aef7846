// See ops/quantize_shrink.h. Two kernels, both of blocks of 256 threads, where a warp quantises a scale group of 128 channels in
// registers, four a lane:
//   quantize_rows         without adapters: a row a block, or several blocks (parts) for one row where there are few
//   quantize_shrink_rows  with adapters: a few rows a block; what it quantises also goes through shared memory to tensor cores
// Both give the same bits for a row that has no adapter.
#include "cuda/quantize_shrink.h"

#include <algorithm>

#include "cuda/quantize_group.h"
#include "cuda/shrink.h"

namespace lowrank::cuda {
namespace {

// Grid: rows; parts.
template <class Source>
LOWRANK_KERNEL(kRowThreads, 6) quantize_rows(QuantizeParams<Source> params) {
  LOWRANK_SHARED(QuantizeRow, shared_row, 1);
  LOWRANK_SHARED(float, partial, kRowWarps);
  const int32_t cols = params.out.cols;
  const auto m = static_cast<int32_t>(blockIdx.x);
  if (threadIdx.x == 0) begin_row(params, m, shared_row[0]);
  __syncthreads();
  if constexpr (Source::kNorm) norm_rows(shared_row, partial, 1, cols, params.source.epsilon);
  const QuantizeRow row = shared_row[0];
  const OutlierLanes outlier_lanes = load_outliers(params.input);
  const auto parts = static_cast<int32_t>(gridDim.y);
  for (int32_t group = warp_index() * parts + static_cast<int32_t>(blockIdx.y); group < scale_groups(cols);
       group += kRowWarps * parts) {
    const int32_t k = group * kScaleGroup + lane_index() * kLaneChannels;
    const float4 u = params.source.make(row, params.source.fetch(row, k, cols));
    write_group(params.input, params.out, outlier_lanes, m, group, u);
  }
}

template <class Source>
struct ShrinkRowsParams {
  QuantizeParams<Source> quantize;
  device::ShrinkSums sums;
  int32_t block_rows;
};

// The groups of a slice that a warp makes, of all rows of its block.
constexpr int32_t kSliceGroups = device::kShrinkSlice / kScaleGroup;
constexpr int32_t kWarpGroups = kShrinkRows * kSliceGroups / kRowWarps;

template <class Source>
struct WarpGroups {
  typename Source::Fetched fetched[kWarpGroups];

  // Row and group of the warp's i-th.
  LOWRANK_DEVICE static int32_t row(int32_t i) { return (warp_index() + i * kRowWarps) / kSliceGroups; }
  LOWRANK_DEVICE static int32_t group(int32_t slice) { return slice * kSliceGroups + warp_index() % kSliceGroups; }
  static_assert(kRowWarps % kSliceGroups == 0);

  LOWRANK_DEVICE void fetch(const Source& source, const QuantizeRow* rows, int32_t row_count, int32_t slice, int32_t cols) {
    const int32_t k = group(slice) * kScaleGroup + lane_index() * kLaneChannels;
#pragma unroll
    for (int32_t i = 0; i < kWarpGroups; ++i)
      if (row(i) < row_count) fetched[i] = source.fetch(rows[row(i)], k, cols);
  }
};

// Grid: blocks of block_rows rows; parts; rank_parts.
template <class Source>
LOWRANK_KERNEL(kRowThreads, 2) quantize_shrink_rows(ShrinkRowsParams<Source> params) {
  LOWRANK_SHARED(ShrinkMemory, shared, 1);
  LOWRANK_SHARED(QuantizeRow, rows, kShrinkRows);
  LOWRANK_SHARED(float, partial, kShrinkRows * kRowWarps);
  ShrinkMemory& memory = shared[0];
  const QuantizeParams<Source>& quantize = params.quantize;
  const device::AdapterSegments& adapters = quantize.adapters;
  const int32_t cols = quantize.out.cols;
  const int32_t first_row = static_cast<int32_t>(blockIdx.x) * params.block_rows;
  const int32_t row_count = min(params.block_rows, quantize.rows - first_row);
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const auto parts = static_cast<int32_t>(gridDim.y);
  const auto rank_part = static_cast<int32_t>(blockIdx.z);
  const auto rank_parts = static_cast<int32_t>(gridDim.z);
  const int32_t slices = device::shrink_slices(cols);
  const int32_t share = (slices + parts - 1) / parts;
  const int32_t begin = static_cast<int32_t>(blockIdx.y) * share;
  const int32_t end = min(begin + share, slices);

  if (thread < row_count) begin_row(quantize, first_row + thread, rows[thread]);
  __syncthreads();
  if (warp_index() == 0) list_items(memory, rows, row_count, 0);
  if constexpr (Source::kNorm) norm_rows(rows, partial, row_count, cols, quantize.source.epsilon);
  __syncthreads();
  const OutlierLanes outlier_lanes = load_outliers(quantize.input);
  const int32_t own_row = lane_index() / 4;
  const bool has_u = own_row < row_count && rows[own_row].shrink_count > 0;
  const int64_t h_at = int64_t{first_row} * adapters.h_stride;
  const ShrinkOutput out = {adapters.h + h_at, parts > 1 ? params.sums.sums + h_at : nullptr,
                            int64_t{quantize.rows} * adapters.h_stride, adapters.h_stride};

  const int32_t item_count = memory.item_count;
  int32_t first_item = 0;
  do {
    const int32_t count = min(item_count - first_item, kListedItems);
    WarpGroups<Source> groups;
    groups.fetch(quantize.source, rows, row_count, begin, cols);
    ShrinkPieces pieces;
    load_pieces(pieces, memory.items, count, begin);
    for (int32_t slice = begin; slice < end; ++slice) {
#pragma unroll
      for (int32_t i = 0; i < kWarpGroups; ++i) {
        const int32_t r = WarpGroups<Source>::row(i);
        const int32_t group = WarpGroups<Source>::group(slice);
        if (r >= row_count || group >= scale_groups(cols)) break;
        const float4 u = quantize.source.make(rows[r], groups.fetched[i]);
        if (rows[r].shrink_count > 0)
          store_split(memory, r, group % kSliceGroups * kScaleGroup + lane_index() * kLaneChannels, u);
        if (first_item == 0 && (r + group) % rank_parts == rank_part)
          write_group(quantize.input, quantize.out, outlier_lanes, first_row + r, group, u);
      }
      if (slice + 1 < end) groups.fetch(quantize.source, rows, row_count, slice + 1, cols);
      if (count == 0) continue;
      __syncthreads();
      for (int32_t batch = 0; batch < count; batch += kBatchItems) {
        const int32_t next = batch + kBatchItems;
        multiply_pieces(memory, pieces, memory.items + batch, min(count - batch, kBatchItems), slice, has_u);
        if (next < count)
          load_pieces(pieces, memory.items + next, count - next, slice);
        else if (slice + 1 < end)
          load_pieces(pieces, memory.items, count, slice + 1);
        __syncthreads();
        add_slice(memory, out, batch, min(count - batch, kBatchItems), slice, parts > 1, slice + 1 == slices);
        if (next < count) __syncthreads();
      }
    }
    first_item += kListedItems;
    if (first_item < item_count) {
      __syncthreads();
      if (warp_index() == 0) list_items(memory, rows, row_count, first_item);
      __syncthreads();
    }
  } while (first_item < item_count);

  if (parts == 1 || item_count == 0) return;
  if (!comes_last(memory, params.sums.arrivals + blockIdx.x * gridDim.z + blockIdx.z, parts)) return;
  for (first_item = 0; first_item < item_count; first_item += kListedItems) {
    if (item_count > kListedItems) {
      __syncthreads();
      if (warp_index() == 0) list_items(memory, rows, row_count, first_item);
      __syncthreads();
    }
    merge_slices(memory, out, min(item_count - first_item, kListedItems), slices);
  }
}

template <class Source>
void enqueue_rows(Launches& launches, const QuantizeParams<Source>& params, const device::ShrinkSums& sums) {
  if (params.rows == 0) return;
  const int32_t multiprocessors = launches.device().multiprocessors;
  if (params.adapters.count == nullptr) {
    const int32_t useful = (scale_groups(params.out.cols) + kRowWarps - 1) / kRowWarps;
    const int32_t parts = std::clamp(multiprocessors / params.rows, 1, std::min(useful, kQuantizeMaxParts));
    const dim3 grid(static_cast<unsigned>(params.rows), static_cast<unsigned>(parts));
    return launches.add(quantize_rows<Source>, grid, dim3(kRowThreads), 0, params);
  }
  const ShrinkGrid cut =
      shrink_grid({params.rows, params.out.cols, Source::kNorm, sums.sums != nullptr}, multiprocessors);
  const dim3 grid(static_cast<unsigned>((params.rows + cut.block_rows - 1) / cut.block_rows), static_cast<unsigned>(cut.parts),
                  static_cast<unsigned>(cut.rank_parts));
  launches.add(quantize_shrink_rows<Source>, grid, dim3(kRowThreads), 0,
               ShrinkRowsParams<Source>{params, sums, cut.block_rows});
}

}  // namespace

// The cut whose slowest multiprocessor is done first. Weights: a slice of a row is 4, and beside its rows a slice costs the
// block's products 8; reading a row for its norm is 1 a slice; leaving sums for others, and adding theirs, 8 in all.
ShrinkGrid shrink_grid(const ShrinkGridOf& launch, int32_t multiprocessors) {
  const int64_t slices = device::shrink_slices(launch.cols);
  ShrinkGrid best = {1, 1, 1};
  int64_t least = INT64_MAX;
  const auto consider = [&](int32_t block_rows, int64_t share, int32_t rank_parts) {
    const int64_t blocks = (int64_t{launch.rows} + block_rows - 1) / block_rows;
    const int64_t parts = (slices + share - 1) / share;
    const int64_t rounds = (blocks * parts * rank_parts + multiprocessors - 1) / multiprocessors;
    const int64_t cost = rounds * (share * (4 * block_rows + 8 / rank_parts) + (launch.norm ? slices * block_rows : 0) +
                                   (parts > 1 ? 8 : 0));
    if (cost > least) return;
    least = cost;
    best = {block_rows, static_cast<int32_t>(parts), rank_parts};
  };
  for (int32_t block_rows = 1; block_rows <= kShrinkRows; ++block_rows) {
    for (int64_t share = slices;; share = (share + 1) / 2) {
      consider(block_rows, share, 1);
      if (share == 1 || !launch.shares) break;
    }
    if (int64_t{launch.rows} * kShrinkRankParts > device::kShrinkSharedRows) continue;
    for (int32_t rank_parts = 2; rank_parts <= kShrinkRankParts; ++rank_parts)
      consider(block_rows, launch.shares ? 1 : slices, rank_parts);
  }
  return best;
}

void enqueue(Launches& launches, const device::RmsNormQuantizeShrinkParams& params) {
  const NormSource source = {params.x, params.row_index, params.gain, params.x_stride, params.epsilon};
  enqueue_rows<NormSource>(launches, {source, params.input, params.out, params.adapters, params.rows}, params.sums);
}

void enqueue(Launches& launches, const device::QuantizeShrinkParams& params) {
  enqueue_rows<PlainSource>(launches, {{params.x, params.x_stride}, params.input, params.out, params.adapters, params.rows},
                            params.sums);
}

void enqueue(Launches& launches, const device::GluQuantizeShrinkParams& params) {
  if (params.activation == Activation::kSilu)
    enqueue_rows<GluSource<Activation::kSilu>>(
        launches, {{params.gate_up, params.stride}, params.input, params.out, params.adapters, params.rows}, params.sums);
  else
    enqueue_rows<GluSource<Activation::kGeluTanh>>(
        launches, {{params.gate_up, params.stride}, params.input, params.out, params.adapters, params.rows}, params.sums);
}

}  // namespace lowrank::cuda
