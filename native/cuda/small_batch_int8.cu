// The product of 5 to 32 rows with int8 weights: mma.m16n8k32, with W from memory to registers.
//
// A warp computes 8 columns for all rows. Within a half group (64 channels) the four lanes of a quad read 16 bytes each, of a row
// of W and of rows of x alike: that is a fragment's layout but for the order of K, which is the same on both sides and does
// not matter to an exact sum. So there is neither shared memory nor a shuffle between memory and tensor core, each load of
// a warp takes 64 bytes of eight rows (whole sectors), and W is read once for all rows.
//
// `splits` warps of a block share 8 columns where the matrix is too small to fill the device with a warp for each: each takes
// every splits-th group, and its products of groups, already scaled, go through shared memory to the first of them, which adds
// them in ascending order. So the number of splits does not show in y, and no two blocks add to one sum.
//
// Per 8 columns: 8 ceil64(K) bytes of W and 16 for each group; x, ceil64(K) bytes a row, comes from the cache.
#include "cuda/matmul_epilogue.h"
#include "cuda/matmul_kernels.h"
#include "cuda/matmul_scale.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kPiece = 16;                  // bytes of a lane
constexpr int32_t kHalf = kScaleGroup / 2;      // of K: 4 lanes of 16 bytes
constexpr int32_t kPartials = 4 * kSmallBatchWarps;  // fragments of a round in shared memory

struct SmallBatchParams {
  device::MatmulExpandParams op;
  int32_t splits;  // 1, 2, 4 or 8
};

// The lane's words of one group of W: row n + lane / 4.
struct GroupWeights {
  uint4 half[2];
};
LOWRANK_DEVICE GroupWeights load_weights(const int8_t* row, int32_t g, int32_t stride) {
  const int32_t k = g * kScaleGroup + lane_index() % 4 * kPiece;
  const bool whole = g * kScaleGroup + kHalf < stride;
  return {{ptx::load_streaming_16(row + k), whole ? ptx::load_streaming_16(row + k + kHalf) : make_uint4(0, 0, 0, 0)}};
}

// The lane's rows of x and columns of W. Offsets within 32 rows fit 32 bits.
template <int RowFragments>
class SmallBatch {
 public:
  LOWRANK_DEVICE SmallBatch(const device::MatmulExpandParams& p, int32_t n)
      : x_(p.x.q + static_cast<int64_t>(p.row_begin) * p.x.stride),
        x_scale_(p.x.scale + static_cast<int64_t>(p.row_begin) * scale_groups(p.w.cols)),
        w_scale_(static_cast<const uint16_t*>(p.w.scale) +
                 static_cast<int64_t>(n + lane_index() % 4 * 2) * scale_groups(p.w.cols)),
        rows_(p.row_end - p.row_begin),
        stride_(p.x.stride),
        groups_(scale_groups(p.w.cols)) {}

  // The scaled product of group g.
  LOWRANK_DEVICE void multiply(int32_t g, const GroupWeights& w, float (&scaled)[RowFragments][4]) const {
    int32_t sum[RowFragments][4];
#pragma unroll
    for (int32_t f = 0; f < RowFragments; ++f)
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) sum[f][i] = kSumBegin;
#pragma unroll
    for (int32_t half = 0; half < 2; ++half) {
      const int32_t k = g * kScaleGroup + half * kHalf;
      if (k >= stride_) break;
      const uint32_t low[2] = {w.half[half].x, w.half[half].y};
      const uint32_t high[2] = {w.half[half].z, w.half[half].w};
#pragma unroll
      for (int32_t f = 0; f < RowFragments; ++f) {
        const uint4 upper = load(row(f, 0), k);
        const uint4 lower = load(row(f, 1), k);
        ptx::mma_m16n8k32_s8(sum[f], {upper.x, lower.x, upper.y, lower.y}, low);
        ptx::mma_m16n8k32_s8(sum[f], {upper.z, lower.z, upper.w, lower.w}, high);
      }
    }
    const float sw[2] = {bfloat16_to_float32(w_scale_[g]), bfloat16_to_float32(w_scale_[groups_ + g])};
#pragma unroll
    for (int32_t f = 0; f < RowFragments; ++f)
#pragma unroll
      for (int32_t i = 0; i < 4; ++i) {
        const int32_t m = row(f, i / 2);
        const float sx = m < rows_ ? x_scale_[m * groups_ + g] : 0.0f;
        scaled[f][i] = (sx * sw[i % 2]) * sum_as_float(sum[f][i]);
      }
  }

 private:
  LOWRANK_DEVICE int32_t row(int32_t f, int32_t half) const { return lane_index() / 4 + 16 * f + 8 * half; }
  LOWRANK_DEVICE uint4 load(int32_t m, int32_t k) const {
    if (m >= rows_) return make_uint4(0, 0, 0, 0);
    return *reinterpret_cast<const uint4*>(x_ + (m * stride_ + k + lane_index() % 4 * kPiece));
  }

  const int8_t* x_;
  const float* x_scale_;
  const uint16_t* w_scale_;  // of column n + 2 member
  int32_t rows_;
  int32_t stride_;
  int32_t groups_;
};

LOWRANK_DEVICE void add(float (&to)[4], const float4& one) {
  to[0] += one.x;
  to[1] += one.y;
  to[2] += one.z;
  to[3] += one.w;
}
LOWRANK_DEVICE float4 packed(const float (&fragment)[4]) {
  return make_float4(fragment[0], fragment[1], fragment[2], fragment[3]);
}

template <int RowFragments>
LOWRANK_KERNEL(32 * kSmallBatchWarps, 4 - RowFragments) small_batch_int8(SmallBatchParams params) {
  constexpr int32_t kGroupsAtOnce = kPartials / kSmallBatchWarps / RowFragments;  // of a warp
  LOWRANK_SHARED(float4, partials, kPartials * 32);  // [tile][group of the round][RowFragments][lane]
  LOWRANK_SHARED(float4, low_rank, kSmallBatchWarps * RowFragments * 32);  // [warp][RowFragments][lane]
  LOWRANK_SHARED(float4, outliers, kSmallBatchWarps * RowFragments * 32);
  const device::MatmulExpandParams& p = params.op;
  const int32_t splits = params.splits;
  const int32_t lane = lane_index();
  const int32_t warp = warp_index();
  const int32_t split = warp % splits;
  const int32_t tile = warp / splits;
  const int32_t n = (static_cast<int32_t>(blockIdx.x) * (kSmallBatchWarps / splits) + tile) * kSmallBatchColumns;
  const bool within = n < p.w.rows;  // the matrix holds 16 rows at a time: then all 8 are there
  const int32_t groups = scale_groups(p.w.cols);
  const bool expands = p.adapters.count != nullptr;

  const int8_t* const w = static_cast<const int8_t*>(p.w.data) + static_cast<int64_t>(n + lane / 4) * p.w.stride;
  GroupWeights next = {};
  if (within && split < groups) next = load_weights(w, split, p.w.stride);

  // The epilogue's terms, while the first weights are under way: the warps of a tile share out the segments. Kept in shared
  // memory until the product is there.
  float4* const own_low_rank = low_rank + warp * RowFragments * 32 + lane;
  float4* const own_outliers = outliers + warp * RowFragments * 32 + lane;
#pragma unroll 1
  for (int32_t f = 0; f < RowFragments; ++f) {
    const int32_t m = p.row_begin + 16 * f;
    if (!within || m >= p.row_end) break;
    if (split == 0 && p.w.outlier_columns != nullptr) {
      float part[1][4] = {};
      add_outliers(part, p, m, n);
      own_outliers[f * 32] = packed(part[0]);
    }
    if (expands) {
      float part[1][4] = {};
      add_expand(part, p.adapters, lane_segment(p.adapters, m, p.row_end), m, n, splits - 1 - split, splits);
      own_low_rank[f * 32] = packed(part[0]);
    }
  }

  const SmallBatch<RowFragments> batch(p, n);
  float product[RowFragments][1][4] = {};
  const int32_t round = kGroupsAtOnce * splits;
  float4* const partial = partials + tile * round * RowFragments * 32 + lane;
#pragma unroll 1
  for (int32_t begin = 0; begin < groups; begin += round) {
#pragma unroll 1
    for (int32_t g = begin + split; within && g < min(begin + round, groups); g += splits) {
      const GroupWeights weights = next;
      if (g + splits < groups) next = load_weights(w, g + splits, p.w.stride);
      float scaled[RowFragments][4];
      batch.multiply(g, weights, scaled);
#pragma unroll
      for (int32_t f = 0; f < RowFragments; ++f) {
        if (splits == 1)
          add(product[f][0], packed(scaled[f]));
        else
          partial[((g - begin) * RowFragments + f) * 32] = packed(scaled[f]);
      }
    }
    if (splits == 1) continue;
    __syncthreads();
    if (split == 0)
      for (int32_t g = 0; within && g < min(round, groups - begin); ++g)
#pragma unroll
        for (int32_t f = 0; f < RowFragments; ++f) add(product[f][0], partial[(g * RowFragments + f) * 32]);
    __syncthreads();
  }
  if (split != 0 || !within) return;

#pragma unroll
  for (int32_t f = 0; f < RowFragments; ++f) {
    const int32_t m = p.row_begin + 16 * f;
    if (m >= p.row_end) break;
    if (p.w.outlier_columns != nullptr) add(product[f][0], own_outliers[f * 32]);
    if (expands) {
      // A row's part is in one of them; the others hold 0.
      float part[4] = {};
      for (int32_t i = 0; i < splits; ++i) add(part, own_low_rank[(i * RowFragments + f) * 32]);
      add(product[f][0], packed(part));
    }
    store_fragments(p, lane_segment(p.adapters, m, p.row_end), m, n, product[f]);
  }
}

}  // namespace

// As many as give each multiprocessor 16 warps, and no more than there are groups.
int32_t small_batch_splits(const device::MatmulExpandParams& p, int32_t multiprocessors) {
  const int64_t tiles = (int64_t{p.w.rows} + kSmallBatchColumns - 1) / kSmallBatchColumns;
  int32_t splits = 1;
  while (splits < kSmallBatchWarps && 2 * splits <= scale_groups(p.w.cols) && tiles * splits < int64_t{16} * multiprocessors)
    splits *= 2;
  return splits;
}

void enqueue_small_batch_int8(Launches& launches, const device::MatmulExpandParams& p) {
  const SmallBatchParams params = {p, small_batch_splits(p, launches.device().multiprocessors)};
  const int32_t columns = kSmallBatchWarps / params.splits * kSmallBatchColumns;  // of a block
  const dim3 grid(static_cast<unsigned>((int64_t{p.w.rows} + columns - 1) / columns));
  const auto kernel = p.row_end - p.row_begin <= 16 ? small_batch_int8<1> : small_batch_int8<2>;
  launches.add(kernel, grid, dim3(32 * kSmallBatchWarps), 0, params);
}

}  // namespace lowrank::cuda
