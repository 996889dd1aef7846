// out[m, h, :] = softmax_j(cap(scale * q[m, h, :] . K[j, h / group, :])) V[j, h / group, :],   j in [first(p), p]
// with p the row's absolute position and first(p) = max(0, p - window + 1), or 0 without a window, and
// cap(s) = soft_cap * tanh(s / soft_cap) (Gemma 2, arXiv 2408.00118), or s where soft_cap is 0.
//
// Grouped-query attention (arXiv 2305.13245) over the paged cache, prefill and decode alike: the row's own key is in the
// cache already. Online softmax (arXiv 1805.02867) in one fixed order: keys in splits of 256 absolute positions,
// blocks of 32 inside; each split starts from a fresh (max, sum, accumulator); splits are merged in ascending order.
// So a row's result depends on its own keys alone, whatever the batch, the chunking or the threads.
// With a bfloat16 cache, an instruction set that has bfloat16 products rounds q and the softmax weights to bfloat16, too, and
// the softmax sums the rounded weights. The effect on out is at most 2^-8 times the weighted mean of |V - out|, and that of
// the rounding of q.
// Of an int8 cache such a kernel rounds a softmax weight times its value's scale; the bound is the same. Where it multiplies bytes
// (head_dim a multiple of 4), q is rounded to multiples of its largest magnitude / 16,256 instead, and the weights times their
// scales, w, to multiples of a block's largest one / 65,535: the effect on out is at most 32 / 131,070 times the largest |V|.
// Pairs of row and kv head are split over the parts; where there are few, so may be the splits of a pair's keys, see AttentionShare.
#pragma once

#include <atomic>

#include "core/host_device.h"
#include "ops/rope_write_kv.h"
#include "ops/types.h"

namespace lowrank {

inline constexpr int32_t kAttentionSplit = 256;

// The first key that a row at `position` sees. window 0: all.
LOWRANK_HOST_DEVICE inline int32_t first_key(int32_t position, int32_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

// Memory through which the parts of one call may share a pair's keys out, split by split: each leaves its softmax states here, and
// the part that is done last merges them, in the same order as one part alone. For calls of few rows, whose pairs can be dealt out
// only unevenly. Only the CPU's ops look at it. `splits` 0: pairs stay whole.
struct AttentionShare {
  float* partials;                 // [attention_share_floats]
  std::atomic<uint32_t>* arrived;  // [parts], zero before a call and again behind it
  int32_t splits;                  // that a row sees at most
  int32_t queries;                 // of a tile that is shared, at most kAttentionTileQueries
};
inline constexpr int32_t kAttentionTileQueries = 32;
// One query's state of a split: its sums of values, then the largest score and the sum of weights.
inline constexpr int32_t attention_state_floats(int32_t head_dim) { return round_up(head_dim, 64) + 2; }
inline constexpr int64_t attention_share_floats(int parts, int32_t splits, int32_t queries, int32_t head_dim) {
  return int64_t{parts} * splits * queries * attention_state_floats(head_dim);
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
  AttentionShare share;
  float soft_cap = 0;  // of a score, above 0; or 0: none
};

}  // namespace lowrank
