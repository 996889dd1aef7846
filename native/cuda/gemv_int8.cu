// The product of 1 to 4 rows with int8 weights: dp4a, bound by the bytes of W.
//
// A block computes 8 columns, a warp each. A warp reads 512 bytes of its row of W at a time, 16 a lane, with the next four times
// 512 under way: 32 KiB on a multiprocessor with 16 warps, more than its share of what a device's memory gives in the time that
// it takes to answer (2 MiB on an H100). 8 neighbouring lanes hold one scale group, whose int32 sum they make by three shuffles.
// So W is read once for all rows, in whole lines, and groups are added in ascending order. x comes from the cache: the 8
// warps read the same.
//
// Per column: ceil64(K) bytes of W and 2 for each group; 2 K operations a row.
#include "cuda/matmul_epilogue.h"
#include "cuda/matmul_kernels.h"
#include "cuda/matmul_scale.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kPiece = 16;              // bytes of a lane
constexpr int32_t kStep = 32 * kPiece;      // of a warp
constexpr int32_t kGroupLanes = kScaleGroup / kPiece;
constexpr int32_t kStepGroups = kStep / kScaleGroup;
constexpr int32_t kAhead = 4;  // steps of W under way

LOWRANK_DEVICE int32_t dot(const uint4& a, const uint4& b) {
  int32_t sum = __dp4a(static_cast<int>(a.x), static_cast<int>(b.x), 0);
  sum = __dp4a(static_cast<int>(a.y), static_cast<int>(b.y), sum);
  sum = __dp4a(static_cast<int>(a.z), static_cast<int>(b.z), sum);
  return __dp4a(static_cast<int>(a.w), static_cast<int>(b.w), sum);
}

// Of a launch with Rows - 1 rows, the last one is computed twice and stored once.
template <int Rows>
LOWRANK_KERNEL(32 * kGemvColumns, Rows < kGemvRows ? 3 : 2) gemv_int8(device::MatmulExpandParams p) {
  LOWRANK_SHARED(float, products, Rows * kGemvColumns);
  LOWRANK_SHARED(float4, low_rank, kGemvColumns * 32);
  const int32_t lane = lane_index();
  const int32_t warp = warp_index();
  const int32_t n = static_cast<int32_t>(blockIdx.x) * kGemvColumns;  // the matrix holds 16 rows at a time: all 8 are there
  const int32_t groups = scale_groups(p.w.cols);
  const int32_t stride = p.w.stride;
  const uint4 zero = make_uint4(0, 0, 0, 0);

  const int8_t* const w = static_cast<const int8_t*>(p.w.data) + static_cast<int64_t>(n + warp) * stride;
  const uint16_t* const w_scale = static_cast<const uint16_t*>(p.w.scale) + static_cast<int64_t>(n + warp) * groups;
  const int8_t* const x = p.x.q + static_cast<int64_t>(p.row_begin) * p.x.stride;
  const float* const x_scale = p.x.scale + static_cast<int64_t>(p.row_begin) * groups;
  const int32_t last = p.row_end - p.row_begin - 1;
  uint4 ahead[kAhead];
#pragma unroll
  for (int32_t i = 0; i < kAhead; ++i) {
    const int32_t k = i * kStep + lane * kPiece;
    ahead[i] = k < stride ? ptx::load_streaming_16(w + k) : zero;
  }

  // The epilogue's terms, while the first weights are under way: the warps share out the segments.
  const int32_t segment = lane_segment(p.adapters, p.row_begin, p.row_end);
  const bool expands = p.adapters.count != nullptr;
  float outlier_part[1][4] = {};
  if (warp == 0) add_outliers(outlier_part, p, p.row_begin, n);
  if (expands) {
    float part[1][4] = {};
    add_expand(part, p.adapters, segment, p.row_begin, n, kGemvColumns - 1 - warp, kGemvColumns);
    low_rank[warp * 32 + lane] = make_float4(part[0][0], part[0][1], part[0][2], part[0][3]);
  }

  float product[Rows] = {};
#pragma unroll 1
  for (int32_t round = 0; round < stride; round += kAhead * kStep) {
#pragma unroll
    for (int32_t i = 0; i < kAhead; ++i) {
      const int32_t begin = round + i * kStep;
      if (begin >= stride) break;
      const int32_t k = begin + lane * kPiece;
      const uint4 weights = ahead[i];
      ahead[i] = k + kAhead * kStep < stride ? ptx::load_streaming_16(w + k + kAhead * kStep) : zero;
      const int32_t first = begin / kScaleGroup;
      const int32_t group = first + lane / kGroupLanes;
      const float sw = group < groups ? bfloat16_to_float32(w_scale[group]) : 0.0f;
#pragma unroll
      for (int32_t r = 0; r < Rows; ++r) {
        const int32_t row = min(r, last);
        const uint4 input = k < stride ? *reinterpret_cast<const uint4*>(x + (row * stride + k)) : zero;
        const float sx = group < groups ? x_scale[row * groups + group] : 0.0f;
        int32_t sum = dot(weights, input);
#pragma unroll
        for (int32_t other = kGroupLanes / 2; other > 0; other /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, other);
        const float scaled = (sx * sw) * sum_as_float(sum + kSumBegin);
#pragma unroll
        for (int32_t g = 0; g < kStepGroups; ++g) {
          const float one = __shfl_sync(kWholeWarp, scaled, g * kGroupLanes);
          if (first + g < groups) product[r] += one;
        }
      }
    }
  }
  if (lane == 0)
#pragma unroll
    for (int32_t r = 0; r < Rows; ++r) products[r * kGemvColumns + warp] = product[r];
  __syncthreads();
  if (warp != 0) return;

  float value[1][4] = {};
  const int32_t row = lane / 4;
  if (row < Rows) {
    value[0][0] = products[row * kGemvColumns + lane % 4 * 2];
    value[0][1] = products[row * kGemvColumns + lane % 4 * 2 + 1];
  }
  add_fragments(value, outlier_part);
  if (expands) {
    // A row's part is in one of them; the others hold 0. There are no rows 8 to 15.
    float part[1][4] = {};
#pragma unroll
    for (int32_t i = 0; i < kGemvColumns; ++i) {
      const float4 one = low_rank[i * 32 + lane];
      part[0][0] += one.x;
      part[0][1] += one.y;
    }
    add_fragments(value, part);
  }
  store_fragments(p, segment, p.row_begin, n, value);
}

}  // namespace

void enqueue_gemv_int8(Launches& launches, const device::MatmulExpandParams& p) {
  const dim3 grid(static_cast<unsigned>((int64_t{p.w.rows} + kGemvColumns - 1) / kGemvColumns));
  const int32_t rows = p.row_end - p.row_begin;
  const auto kernel = rows == 1 ? gemv_int8<1> : rows == 2 ? gemv_int8<2> : gemv_int8<kGemvRows>;
  launches.add(kernel, grid, dim3(32 * kGemvColumns), 0, p);
}

}  // namespace lowrank::cuda
