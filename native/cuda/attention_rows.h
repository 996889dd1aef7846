// Attention row by row in float32: any cache, any head_dim. A lane takes a key of each block of 32 for the scores, and every
// 32nd dimension for the values.
#pragma once

#include "core/float16.h"
#include "cuda/attention_softmax.h"

namespace lowrank::cuda {

template <KvFormat kFormat>
LOWRANK_DEVICE float load_element(const void* data, int64_t at) {
  if constexpr (kFormat == KvFormat::kFloat32) return static_cast<const float*>(data)[at];
  if constexpr (kFormat == KvFormat::kBFloat16) return bfloat16_to_float32(static_cast<const uint16_t*>(data)[at]);
  return static_cast<float>(static_cast<const int8_t*>(data)[at]);
}

// Grid: (rows * heads, splits or 1). kChunks: dimensions of a lane, at least head_dim / 32.
template <KvFormat kFormat, int kChunks>
LOWRANK_KERNEL(kWarpLanes, 1) attention_rows(device::AttentionPagedParams p) {
  LOWRANK_SHARED(float, q, kMaxHeadDim);
  const int32_t lane = lane_index();
  const int32_t row = static_cast<int32_t>(blockIdx.x) / p.heads;
  const int32_t head = static_cast<int32_t>(blockIdx.x) % p.heads;
  const int32_t kv_head = head / (p.heads / p.kv_heads);
  const int32_t position = p.tables.positions[row];
  const int32_t first = first_key(position, p.window);
  const int32_t* pages = p.tables.pages + p.tables.first[row];
  int32_t split = first / kAttentionSplit;
  int32_t last_split = position / kAttentionSplit;
  if (p.splits > 0) {
    split += static_cast<int32_t>(blockIdx.y);
    if (split > last_split) return;
    last_split = split;
  }

  const float* query = p.q + static_cast<size_t>(row) * static_cast<size_t>(p.q_stride) +
                       static_cast<size_t>(head) * static_cast<size_t>(p.head_dim);
  for (int32_t i = lane; i < p.head_dim; i += kWarpLanes) {
    // As the tensor cores would have it.
    q[i] = kFormat == KvFormat::kFloat32 ? query[i] : bfloat16_to_float32(float32_to_bfloat16(query[i]));
  }
  __syncwarp();

  float total_largest = -INFINITY, total_sum = 0.0f;
  float total[kChunks] = {};
  for (; split <= last_split; ++split) {
    float largest = -INFINITY, sum = 0.0f;  // sum: of this lane's keys
    float values[kChunks] = {};
    const int32_t begin = max(first, split * kAttentionSplit);
    const int32_t end = min(position + 1, (split + 1) * kAttentionSplit);
    for (int32_t page = begin / kPageTokens; page * kPageTokens < end; ++page) {
      const int32_t block = page * kPageTokens;
      const int64_t number = pages[page];
      const int64_t keys = number * p.cache.page_elements + int64_t{kv_head} * kPageTokens * p.head_dim;
      const int64_t scales = number * p.cache.page_scales + int64_t{kv_head} * kPageTokens;
      const bool seen = block + lane >= begin && block + lane < end;
      float score = -INFINITY;
      if (seen) {
        const int64_t key = keys + int64_t{lane} * p.head_dim;
        float dot = 0.0f;
#pragma unroll 4
        for (int32_t i = 0; i < p.head_dim; ++i) dot = __fmaf_rn(q[i], load_element<kFormat>(p.cache.k, key + i), dot);
        if constexpr (kFormat == KvFormat::kInt8) dot *= p.cache.k_scale[scales + lane];
        score = dot * p.score_scale;
        if (p.score_cap != 0.0f) score = capped_score(score, p.score_cap);
      }
      float block_largest = score;
#pragma unroll
      for (int distance = kWarpLanes / 2; distance > 0; distance /= 2)
        block_largest = fmaxf(block_largest, __shfl_xor_sync(kWholeWarp, block_largest, distance));
      const Merge by = merge(largest, block_largest);
      largest = by.largest;
      const float weight = seen ? ptx::exp2_approximate(score - (largest == -INFINITY ? 0.0f : largest)) : 0.0f;
      sum = __fmaf_rn(sum, by.keep, weight);
#pragma unroll
      for (int i = 0; i < kChunks; ++i) values[i] *= by.keep;
      for (int32_t j = max(begin - block, 0); j < min(end - block, kPageTokens); ++j) {
        float value_weight = __shfl_sync(kWholeWarp, weight, j);
        if constexpr (kFormat == KvFormat::kInt8) value_weight *= p.cache.v_scale[scales + j];
        const int64_t value = keys + int64_t{j} * p.head_dim;
#pragma unroll
        for (int i = 0; i < kChunks; ++i) {
          const int32_t dim = lane + kWarpLanes * i;
          if (dim < p.head_dim) values[i] = __fmaf_rn(value_weight, load_element<kFormat>(p.cache.v, value + dim), values[i]);
        }
      }
    }
#pragma unroll
    for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, distance);

    if (p.splits > 1) {
      const size_t state = partial_state(p, row, head, split);
      if (lane == 0) {
        p.partial_sums[2 * state] = largest;
        p.partial_sums[2 * state + 1] = sum;
      }
      float* to = p.partial_values + state * static_cast<size_t>(p.head_dim);
#pragma unroll
      for (int i = 0; i < kChunks; ++i)
        if (lane + kWarpLanes * i < p.head_dim) to[lane + kWarpLanes * i] = values[i];
      return;
    }
    const Merge by = merge(total_largest, largest);
    total_largest = by.largest;
    total_sum = merged(by, total_sum, sum);
#pragma unroll
    for (int i = 0; i < kChunks; ++i) total[i] = merged(by, total[i], values[i]);
  }
  float* out = p.out + static_cast<size_t>(row) * static_cast<size_t>(p.out_stride) +
               static_cast<size_t>(head) * static_cast<size_t>(p.head_dim);
#pragma unroll
  for (int i = 0; i < kChunks; ++i)
    if (lane + kWarpLanes * i < p.head_dim) out[lane + kWarpLanes * i] = total[i] / total_sum;
}

}  // namespace lowrank::cuda
