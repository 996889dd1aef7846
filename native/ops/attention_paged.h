// out[m, h, :] = softmax_j(scale * q[m, h, :] . K[j, h / group, :]) V[j, h / group, :],   j in [first(p), p]
// with p the row's absolute position and first(p) = max(0, p - window + 1), or 0 without a window.
//
// Grouped-query attention (arXiv 2305.13245) over the paged cache, prefill and decode alike: the row's own key is in the
// cache already. Online softmax (arXiv 1805.02867) in one fixed order: keys in splits of 256 absolute positions,
// blocks of 32 inside; each split starts from a fresh (max, sum, accumulator); splits are merged in ascending order.
// So a row's result depends on its own keys alone, whatever the batch, the chunking or the threads.
// With a bfloat16 cache, an instruction set that has bfloat16 products rounds q and the softmax weights to bfloat16, too, and
// the softmax sums the rounded weights. The effect on out is at most 2^-8 times the weighted mean of |V - out|, and that of
// the rounding of q.
// Of an int8 cache such a kernel rounds a softmax weight times its value's scale; the bound is the same.
// Pairs of row and kv head are split over the parts.
#pragma once

#include "core/host_device.h"
#include "ops/rope_write_kv.h"
#include "ops/types.h"

namespace lowrank {

inline constexpr int32_t kAttentionSplit = 256;

// The first key that a row at `position` sees. window 0: all.
LOWRANK_HOST_DEVICE inline int32_t first_key(int32_t position, int32_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

struct AttentionPagedArgs {
  const float* q;  // [M, q_stride]: [heads, head_dim], rotated
  int32_t q_stride;
  int32_t rows;
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;  // at most kMaxHeadDim
  float scale;
  int32_t window;  // keys a row sees, itself included; 0: all
  const int32_t* positions;
  const int32_t* const* block_tables;
  KvLayer cache;
  float* out;  // [M, out_stride]
  int32_t out_stride;
};

inline constexpr int32_t kMaxHeadDim = 512;

}  // namespace lowrank
