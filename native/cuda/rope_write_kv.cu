// See ops/rope_write_kv.h. A warp a head; lane l holds channels l + 32 i of the lower half, and those beside them in the upper.
#include "cuda/rope_write_kv.h"

#include "core/float16.h"
#include "cuda/row_norm.h"
#include "quant/int8.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kWarps = 4;

template <int kPairs>
struct Head {
  float low[kPairs];
  float high[kPairs];
};

template <int kPairs>
LOWRANK_DEVICE void load_head(Head<kPairs>& head, const float* x, int32_t half) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int32_t k = lane_index() + i * kWarpLanes;
    head.low[i] = k < half ? x[k] : 0.0f;
    head.high[i] = k < half ? x[k + half] : 0.0f;
  }
}

template <int kPairs>
LOWRANK_DEVICE void norm_head(Head<kPairs>& head, const float* gain, int32_t half, float epsilon) {
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    squares = __fmaf_rn(head.low[i], head.low[i], squares);
    squares = __fmaf_rn(head.high[i], head.high[i], squares);
  }
  const float factor = norm_factor(sum_of_warp(squares), 2 * half, epsilon);
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int32_t k = lane_index() + i * kWarpLanes;
    if (k >= half) continue;
    head.low[i] = head.low[i] * factor * gain[k];
    head.high[i] = head.high[i] * factor * gain[k + half];
  }
}

template <int kPairs>
LOWRANK_DEVICE void rotate_head(Head<kPairs>& head, const float* cosine, const float* sine, int32_t half) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int32_t k = lane_index() + i * kWarpLanes;
    if (k >= half) continue;
    const float low = head.low[i];
    const float high = head.high[i];
    head.low[i] = low * cosine[k] - high * sine[k];
    head.high[i] = high * cosine[k] + low * sine[k];
  }
}

// element(k, value) for every channel k of the head.
template <int kPairs, class Element>
LOWRANK_DEVICE void for_each_channel(const Head<kPairs>& head, int32_t half, const Element& element) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int32_t k = lane_index() + i * kWarpLanes;
    if (k >= half) continue;
    element(k, head.low[i]);
    element(k + half, head.high[i]);
  }
}

// Into the slot of the cache that begins at element `begin`; its scale goes to scales[scale], of int8.
template <int kPairs>
LOWRANK_DEVICE void write_head(const Head<kPairs>& head, KvFormat format, void* cache, int64_t begin, float* scales,
                               int64_t scale, int32_t half) {
  if (format == KvFormat::kBFloat16) {
    uint16_t* slot = static_cast<uint16_t*>(cache) + begin;
    for_each_channel(head, half, [&](int32_t k, float value) { slot[k] = float32_to_bfloat16(value); });
  } else if (format == KvFormat::kFloat32) {
    float* slot = static_cast<float*>(cache) + begin;
    for_each_channel(head, half, [&](int32_t k, float value) { slot[k] = value; });
  } else {
    int8_t* slot = static_cast<int8_t*>(cache) + begin;
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < kPairs; ++i) largest = max(largest, max(magnitude_bits(head.low[i]), magnitude_bits(head.high[i])));
    const Int8Scale group = int8_scale(__reduce_max_sync(kWholeWarp, largest));
    if (lane_index() == 0) scales[scale] = group.scale;
    for_each_channel(head, half, [&](int32_t k, float value) {
      slot[k] = group.inverse == 0.0f ? int8_t{0} : quantize_int8(value, group.inverse);
    });
  }
}

LOWRANK_DEVICE const float* gain_of_row(const float* gain, const float* const* gain_rows, int32_t row) {
  const float* own = gain_rows == nullptr ? nullptr : gain_rows[row];
  return own == nullptr ? gain : own;
}

// The norms over all heads of q and over those of k, in place: the kernel below has a head a warp. Grid: rows; q, k.
LOWRANK_KERNEL(kRowThreads, 2) joint_norms(device::RopeWriteKvParams params) {
  LOWRANK_SHARED(float, partial, kRowWarps);
  const auto row = static_cast<int32_t>(blockIdx.x);
  const bool is_q = blockIdx.y == 0;
  const float* gain = is_q ? gain_of_row(params.q_norm, params.q_norm_rows, row)
                           : gain_of_row(params.k_norm, params.k_norm_rows, row);
  if (gain == nullptr) return;
  const int32_t count = (is_q ? params.heads : params.kv_heads) * params.head_dim;
  float* x = params.qkv + int64_t{row} * params.stride + (is_q ? 0 : params.heads * params.head_dim);
  float squares = 0.0f;
  for (auto k = static_cast<int32_t>(threadIdx.x); k < count; k += kRowThreads) squares = __fmaf_rn(x[k], x[k], squares);
  squares = sum_of_warp(squares);
  if (lane_index() == 0) partial[warp_index()] = squares;
  __syncthreads();
  const float factor = norm_factor(sum_of_warps(partial), count, params.norm_epsilon);
  for (auto k = static_cast<int32_t>(threadIdx.x); k < count; k += kRowThreads) x[k] = x[k] * factor * gain[k];
}

// kPairs * 32 is at least half of head_dim. Grid: rows; heads of q, k and v, kWarps a block.
template <int kPairs>
LOWRANK_KERNEL(kWarps * kWarpLanes, 4) rope_write_kv(device::RopeWriteKvParams params) {
  const int32_t index = static_cast<int32_t>(blockIdx.y) * kWarps + warp_index();
  const int32_t keys = params.heads;
  const int32_t values = keys + params.kv_heads;
  if (index >= values + params.kv_heads) return;
  const auto row = static_cast<int32_t>(blockIdx.x);
  const int32_t half = params.head_dim / 2;
  float* x = params.qkv + int64_t{row} * params.stride + int64_t{index} * params.head_dim;

  Head<kPairs> head;
  load_head(head, x, half);
  if (index < values) {
    const float* gain = index < keys ? gain_of_row(params.q_norm, params.q_norm_rows, row)
                                     : gain_of_row(params.k_norm, params.k_norm_rows, row);
    if (gain != nullptr) norm_head(head, gain, half, params.norm_epsilon);
    const int64_t angles = int64_t{row} * half;
    if (params.cosine != nullptr) rotate_head(head, params.cosine + angles, params.sine + angles, half);
  }
  if (index < keys) {
    for_each_channel(head, half, [&](int32_t k, float value) { x[k] = value; });
    return;
  }
  const bool is_key = index < values;
  const int32_t position = params.tables.positions[row];
  const int64_t page = params.tables.pages[params.tables.first[row] + position / kPageTokens];
  const int64_t slot = int64_t{index - (is_key ? keys : values)} * kPageTokens + position % kPageTokens;
  write_head(head, params.cache.format, is_key ? params.cache.k : params.cache.v,
             page * params.cache.page_elements + slot * params.head_dim, is_key ? params.cache.k_scale : params.cache.v_scale,
             page * params.cache.page_scales + slot, half);
}

}  // namespace

void enqueue(Launches& launches, const device::RopeWriteKvParams& wanted) {
  device::RopeWriteKvParams params = wanted;
  if (params.rows == 0) return;
  if (params.joint_norms != 0) {
    launches.add(joint_norms, dim3(static_cast<unsigned>(params.rows), 2), dim3(kRowThreads), 0, params);
    params.q_norm = params.k_norm = nullptr;
    params.q_norm_rows = params.k_norm_rows = nullptr;
  }
  const int32_t heads = params.heads + 2 * params.kv_heads;
  const dim3 grid(static_cast<unsigned>(params.rows), static_cast<unsigned>((heads + kWarps - 1) / kWarps));
  const dim3 block(kWarps * kWarpLanes);
  const int32_t pairs = (params.head_dim / 2 + kWarpLanes - 1) / kWarpLanes;
  if (pairs <= 1)
    launches.add(rope_write_kv<1>, grid, block, 0, params);
  else if (pairs <= 2)
    launches.add(rope_write_kv<2>, grid, block, 0, params);
  else if (pairs <= 4)
    launches.add(rope_write_kv<4>, grid, block, 0, params);
  else
    launches.add(rope_write_kv<8>, grid, block, 0, params);
}

}  // namespace lowrank::cuda
