// Attention by tensor cores: a warp has 16 slots as the rows of its products,
//   scores [16, 32] = q [16, head_dim] K^T,   values [16, head_dim] += weights [16, 32] V,
// a page of the cache at a time. Of a product's rows, none has anything to do with another.
//
// Fragments (lane = 4 * group + member) have slots group and group + 8, and of the scores the keys 8 t + 2 member and the next
// in tile t: just what the second product takes as its weights. An int8 cache has no ldmatrix that would transpose it, so there
// dimensions are named anew: what they are called inside a product does not matter. In the first, k of step s is dimension
// 16 s + 4 member + (2 i and the next), four bytes of a key in one load. In the second, column `group` of tile 4 c + t is
// dimension 32 c + 4 group + t.
#pragma once

#include <climits>

#include "cuda/attention_paged.h"
#include "cuda/attention_softmax.h"

namespace lowrank::cuda {

inline constexpr int kKeyTiles = kPageTokens / 8;  // of the scores
inline constexpr int32_t kPagesPerSplit = kAttentionSplit / kPageTokens;

// Two bytes, each byte `byte` of its word, which has its sign bits turned around: v + 128 becomes the mantissa of 2^23 + v + 128.
LOWRANK_DEVICE uint32_t bfloat16_pair_of_bytes(uint32_t low, int low_byte, uint32_t high, int high_byte) {
  constexpr uint32_t kExponent = 0x4b000000u;
  constexpr float kOffset = 8388608.0f + 128.0f;
  const float a = __uint_as_float(__byte_perm(low, kExponent, 0x7440u | static_cast<uint32_t>(low_byte))) - kOffset;
  const float b = __uint_as_float(__byte_perm(high, kExponent, 0x7440u | static_cast<uint32_t>(high_byte))) - kOffset;
  return __byte_perm(__float_as_uint(a), __float_as_uint(b), 0x7632u);  // exact: the lower halves are zero
}
inline constexpr uint32_t kSignBits = 0x80808080u;

// What some slots see of their sequence.
struct TileView {
  int32_t begin;      // the first key that any of them sees
  int32_t last;       // the last; -1: there are no slots
  int32_t all_begin;  // from here to all_last, all of them see every key
  int32_t all_last;
};
LOWRANK_DEVICE TileView view_slots(const device::AttentionPagedParams& p, int32_t begin, int32_t end, int32_t lane) {
  const int32_t group = p.heads / p.kv_heads;
  TileView view{INT_MAX, -1, 0, INT_MAX};
  for (int32_t slot = begin + lane; slot < end; slot += kWarpLanes) {
    const int32_t position = p.tables.positions[slot / group];
    const int32_t first = first_key(position, p.window);
    view.begin = min(view.begin, first);
    view.all_begin = max(view.all_begin, first);
    view.last = max(view.last, position);
    view.all_last = min(view.all_last, position);
  }
  return {__reduce_min_sync(kWholeWarp, view.begin), __reduce_max_sync(kWholeWarp, view.last),
          __reduce_max_sync(kWholeWarp, view.all_begin), __reduce_min_sync(kWholeWarp, view.all_last)};
}

template <class Tiling, int kWidth, bool kInt8>
class AttentionWarp {
 public:
  static constexpr int kValueTiles = kWidth / 8;

  LOWRANK_DEVICE AttentionWarp(const device::AttentionPagedParams& params, int32_t begin, int32_t end, unsigned char* queries)
      : p(params), queries_(reinterpret_cast<uint4*>(queries) + threadIdx.x), lane_(lane_index()),
        group_(lane_ / 4), member_(lane_ % 4) {
    const int32_t heads = p.heads / p.kv_heads;
    view_ = view_slots(p, begin, end, lane_);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int32_t slot = begin + group_ + 8 * i;
      const bool there = slot < end;
      row_[i] = there ? slot / heads : -1;
      head_[i] = static_cast<int32_t>(blockIdx.y) * heads + slot % heads;
      position_[i] = there ? p.tables.positions[row_[i]] : -1;
      first_[i] = first_key(position_[i], p.window);
    }
    load_queries();
    clear();
  }

  LOWRANK_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      largest_[i] = -INFINITY;
      sum_[i] = 0.0f;
    }
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) values_[n][e] = 0.0f;
  }

  LOWRANK_DEVICE bool sees(int32_t page) const {
    return view_.begin < (page + 1) * kPageTokens && view_.last >= page * kPageTokens;
  }

  // Adds the keys of a page, which lie in shared memory as the kernel left them.
  LOWRANK_DEVICE void add_page(int32_t page, const unsigned char* keys, const unsigned char* values, const float* key_scales,
                               const float* value_scales) {
    float scores[kKeyTiles][4];
    score(keys, scores);
    const int32_t block = page * kPageTokens;
    const bool all_seen = view_.all_begin <= block && view_.all_last >= block + kPageTokens - 1;
    const uint32_t seen = all_seen ? 0xffffu : seen_keys(block);
    mask(scores, seen, key_scales);
    uint32_t weights[kKeyTiles][2];  // [tile][slot]: pairs of keys
    weigh(scores, seen, value_scales, weights);
    if constexpr (!kInt8) {
      // A weight of zero times a value that is not finite would be NaN, and a row must not know what it does not see.
      if (!all_seen && __any_sync(kWholeWarp, has_special(values))) {
#pragma unroll 1
        for (int32_t slot = 0; slot < 16; ++slot) add_values_of_slot(values, weights, block, slot);
        return;
      }
    }
    add_values(values, weights);
  }

  // Sums of the lanes of a slot become that of all its keys.
  LOWRANK_DEVICE void finish_split() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum_[i] += __shfl_xor_sync(kWholeWarp, sum_[i], 1);
      sum_[i] += __shfl_xor_sync(kWholeWarp, sum_[i], 2);
    }
  }

  LOWRANK_DEVICE void store_partial(int32_t split) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (row_[i] < 0 || split < first_[i] / kAttentionSplit || split > position_[i] / kAttentionSplit) continue;
      const size_t state = partial_state(p, row_[i], head_[i], split);
      if (member_ == 0) {
        p.partial_sums[2 * state] = largest_[i];
        p.partial_sums[2 * state + 1] = sum_[i];
      }
      float* to = p.partial_values + state * static_cast<size_t>(p.head_dim);
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (dim_of(n, e) < p.head_dim) to[dim_of(n, e)] = values_[n][2 * i + e];
    }
  }

  // Merges the split into the total, which lies in `values`, one float a thread each Tiling::kThreads floats, and starts anew.
  LOWRANK_DEVICE void merge_into(float (&largest)[2], float (&sum)[2], float* values) {
    finish_split();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Merge by = merge(largest[i], largest_[i]);
      largest[i] = by.largest;
      sum[i] = merged(by, sum[i], sum_[i]);
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int e = 2 * i; e < 2 * i + 2; ++e) {
          float* at = values + (4 * n + e) * Tiling::kThreads;
          *at = merged(by, *at, values_[n][e]);
        }
    }
    clear();
  }

  // out = values / sum, with value(tile, element) what `values_` has for the whole context.
  template <class Value>
  LOWRANK_DEVICE void store(const float (&sum)[2], Value&& value) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (row_[i] < 0) continue;
      float* to = p.out + static_cast<size_t>(row_[i]) * static_cast<size_t>(p.out_stride) +
                  static_cast<size_t>(head_[i]) * static_cast<size_t>(p.head_dim);
#pragma unroll
      for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (dim_of(n, e) < p.head_dim) to[dim_of(n, e)] = value(n, 2 * i + e) / sum[i];
    }
  }

  // The one split of a context as the whole of it: the same bits as merging it into nothing.
  LOWRANK_DEVICE void store_alone() const {
    Merge by[2];
    float sum[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      by[i] = merge(-INFINITY, largest_[i]);
      sum[i] = merged(by[i], 0.0f, sum_[i]);
    }
    store(sum, [&](int n, int e) { return merged(by[e / 2], 0.0f, values_[n][e]); });
  }

 private:
  // The dimension of element e (or e + 2) of tile n.
  LOWRANK_DEVICE int32_t dim_of(int n, int e) const {
    return kInt8 ? 32 * (n / 4) + 8 * member_ + 4 * e + n % 4 : 8 * n + 2 * member_ + e;
  }

  LOWRANK_DEVICE void load_queries() {
#pragma unroll
    for (int step = 0; step < Tiling::kQuerySteps; ++step) {
      uint32_t a[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t row = row_[i & 1];
        const int32_t dim = 16 * step + (kInt8 ? 4 * member_ + 2 * (i >> 1) : 2 * member_ + 8 * (i >> 1));
        if (row < 0 || dim >= p.head_dim) continue;
        const float* q = p.q + static_cast<size_t>(row) * static_cast<size_t>(p.q_stride) +
                         static_cast<size_t>(head_[i & 1]) * static_cast<size_t>(p.head_dim) + dim;
        a[i] = ptx::bfloat16_pair(q[0], q[1]);
      }
      if constexpr (Tiling::kQueriesInRegisters) {
#pragma unroll
        for (int i = 0; i < 4; ++i) query_[step][i] = a[i];
      } else {
        queries_[step * Tiling::kThreads] = make_uint4(a[0], a[1], a[2], a[3]);
      }
    }
  }

  LOWRANK_DEVICE void score(const unsigned char* keys, float (&scores)[kKeyTiles][4]) const {
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e) scores[t][e] = 0.0f;
#pragma unroll Tiling::kStepsAtOnce
    for (int step = 0; step < Tiling::kQuerySteps; ++step) {
      if (16 * step >= p.head_dim) continue;
      uint32_t a[4];
      if constexpr (Tiling::kQueriesInRegisters) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = query_[step][i];
      } else {
        const uint4 q = queries_[step * Tiling::kThreads];
        a[0] = q.x, a[1] = q.y, a[2] = q.z, a[3] = q.w;
      }
      if constexpr (kInt8) {
#pragma unroll
        for (int t = 0; t < kKeyTiles; ++t) {
          const unsigned char* at = keys + (8 * t + group_) * Tiling::kRowBytes + 16 * step + 4 * member_;
          const uint32_t word = *reinterpret_cast<const uint32_t*>(at) ^ kSignBits;
          const uint32_t b[2] = {bfloat16_pair_of_bytes(word, 0, word, 1), bfloat16_pair_of_bytes(word, 2, word, 3)};
          ptx::mma_m16n8k16_bf16(scores[t], a, b);
        }
      } else {
#pragma unroll
        for (int t = 0; t < kKeyTiles; t += 2) {
          // Matrices: keys 0 to 7 and their dimensions 0 to 7, 8 to 15; then keys 8 to 15.
          const int32_t key = 8 * t + lane_ / 16 * 8 + lane_ % 8;
          uint32_t k[4];
          ptx::ldmatrix_x4(k, keys + key * Tiling::kRowBytes + 32 * step + lane_ / 8 % 2 * 16);
          const uint32_t low[2] = {k[0], k[1]}, high[2] = {k[2], k[3]};
          ptx::mma_m16n8k16_bf16(scores[t], a, low);
          ptx::mma_m16n8k16_bf16(scores[t + 1], a, high);
        }
      }
    }
  }

  // Bit 4 t + e: whether the slot of scores[t][e] sees its key.
  LOWRANK_DEVICE uint32_t seen_keys(int32_t block) const {
    uint32_t seen = 0;
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int32_t key = block + 8 * t + 2 * member_ + (e & 1);
        seen |= (key >= first_[e >> 1] && key <= position_[e >> 1] ? 1u : 0u) << (4 * t + e);
      }
    return seen;
  }

  LOWRANK_DEVICE void mask(float (&scores)[kKeyTiles][4], uint32_t seen, const float* key_scales) const {
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t) {
      float2 scale = make_float2(1.0f, 1.0f);
      if constexpr (kInt8) scale = *reinterpret_cast<const float2*>(key_scales + 8 * t + 2 * member_);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if constexpr (kInt8) scores[t][e] *= (e & 1) == 0 ? scale.x : scale.y;
        scores[t][e] = (seen >> (4 * t + e) & 1u) != 0 ? scores[t][e] * p.score_scale : -INFINITY;
      }
    }
    if (p.score_cap == 0.0f) return;
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if ((seen >> (4 * t + e) & 1u) != 0) scores[t][e] = capped_score(scores[t][e], p.score_cap);
  }

  // One step of the online softmax: scores become weights, rounded to bfloat16.
  LOWRANK_DEVICE void weigh(const float (&scores)[kKeyTiles][4], uint32_t seen, const float* value_scales,
                            uint32_t (&weights)[kKeyTiles][2]) {
    float keep[2], base[2], added[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float largest = -INFINITY;
#pragma unroll
      for (int t = 0; t < kKeyTiles; ++t) largest = fmaxf(largest, fmaxf(scores[t][2 * i], scores[t][2 * i + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, 2));
      const Merge by = merge(largest_[i], largest);
      largest_[i] = by.largest;
      keep[i] = by.keep;
      base[i] = by.largest == -INFINITY ? 0.0f : by.largest;
    }
#pragma unroll
    for (int t = 0; t < kKeyTiles; ++t) {
      float2 scale, inverse;
      if constexpr (kInt8) {
        scale = *reinterpret_cast<const float2*>(value_scales + 8 * t + 2 * member_);
        // Values that are all zero count in the softmax none the less.
        scale = make_float2(scale.x == 0.0f ? 1.0f : scale.x, scale.y == 0.0f ? 1.0f : scale.y);
        inverse = make_float2(1.0f / scale.x, 1.0f / scale.y);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float low = ptx::exp2_approximate(scores[t][2 * i] - base[i]);
        float high = ptx::exp2_approximate(scores[t][2 * i + 1] - base[i]);
        const uint32_t both = seen >> (4 * t + 2 * i);
        if constexpr (kInt8) {
          // Scales that nobody has written may be NaN.
          low = (both & 1u) != 0 ? low * scale.x : 0.0f;
          high = (both & 2u) != 0 ? high * scale.y : 0.0f;
        }
        weights[t][i] = ptx::bfloat16_pair(low, high);
        low = __uint_as_float(weights[t][i] << 16);
        high = __uint_as_float(weights[t][i] & 0xffff0000u);
        if constexpr (kInt8) {
          low = (both & 1u) != 0 ? low * inverse.x : 0.0f;
          high = (both & 2u) != 0 ? high * inverse.y : 0.0f;
        }
        added[i] += low;
        added[i] += high;
      }
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) sum_[i] = __fmaf_rn(sum_[i], keep[i], added[i]);
    if (__all_sync(kWholeWarp, keep[0] == 1.0f && keep[1] == 1.0f)) return;
#pragma unroll
    for (int n = 0; n < kValueTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) values_[n][e] *= keep[e >> 1];
  }

  // The weights of the 16 keys from 16 * half on, as the second product's left operand.
  LOWRANK_DEVICE static void left_operand(const uint32_t (&weights)[kKeyTiles][2], int half, uint32_t (&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = weights[2 * half + (i >> 1)][i & 1];
  }

  // The values of 16 keys in 16 dimensions; [0] and [1] are of the first eight of these, [2] and [3] of the others.
  LOWRANK_DEVICE void load_values(const unsigned char* values, int half, int dims, uint32_t (&v)[4]) const {
    const int32_t key = 16 * half + lane_ % 16;
    ptx::ldmatrix_x4_trans(v, values + key * Tiling::kRowBytes + 32 * dims + lane_ / 16 * 16);
  }

  LOWRANK_DEVICE void add_values(const unsigned char* values, const uint32_t (&weights)[kKeyTiles][2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[4];
      left_operand(weights, half, a);
      if constexpr (kInt8) {
#pragma unroll
        for (int c = 0; c < kWidth / 32; ++c) {
          if (32 * c >= p.head_dim) continue;
          uint32_t words[4];  // keys 2 member, the next, 8 further, the next
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int32_t key = 16 * half + 2 * member_ + (i & 1) + 8 * (i >> 1);
            words[i] = *reinterpret_cast<const uint32_t*>(values + key * Tiling::kRowBytes + 32 * c + 4 * group_) ^ kSignBits;
          }
#pragma unroll
          for (int t = 0; t < 4; ++t) {
            const uint32_t b[2] = {bfloat16_pair_of_bytes(words[0], t, words[1], t),
                                   bfloat16_pair_of_bytes(words[2], t, words[3], t)};
            ptx::mma_m16n8k16_bf16(values_[4 * c + t], a, b);
          }
        }
      } else {
#pragma unroll
        for (int dims = 0; dims < kWidth / 16; ++dims) {
          if (16 * dims >= p.head_dim) continue;
          uint32_t v[4];
          load_values(values, half, dims, v);
          const uint32_t low[2] = {v[0], v[1]}, high[2] = {v[2], v[3]};
          ptx::mma_m16n8k16_bf16(values_[2 * dims], a, low);
          ptx::mma_m16n8k16_bf16(values_[2 * dims + 1], a, high);
        }
      }
    }
  }

  // Whether this lane's share of a page of bfloat16 values has an infinity or a NaN.
  LOWRANK_DEVICE bool has_special(const unsigned char* values) const {
    constexpr uint32_t kExponent = 0x7f80u;
    uint32_t found = 0;
    const unsigned char* row = values + lane_ * Tiling::kRowBytes;
    for (int32_t at = 0; at < 2 * p.head_dim; at += 16) {
      const uint4 some = *reinterpret_cast<const uint4*>(row + at);
      const uint32_t words[4] = {some.x, some.y, some.z, some.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        found |= (words[i] & kExponent) == kExponent ? 1u : 0u;
        found |= (words[i] >> 16 & kExponent) == kExponent ? 1u : 0u;
      }
    }
    return found != 0;
  }

  // The second product for one slot of the warp, with zeros for the values that it does not see.
  LOWRANK_DEVICE void add_values_of_slot(const unsigned char* values, const uint32_t (&weights)[kKeyTiles][2], int32_t block,
                                         int32_t slot) {
    const int32_t i = slot / 8;
    const int32_t first = __shfl_sync(kWholeWarp, i == 0 ? first_[0] : first_[1], slot % 8 * 4);
    const int32_t position = __shfl_sync(kWholeWarp, i == 0 ? position_[0] : position_[1], slot % 8 * 4);
    const bool mine = group_ == slot % 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t a[4];
      left_operand(weights, half, a);
      uint32_t seen[2];  // of the operand's rows: pairs of keys
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const int32_t key = block + 16 * half + 8 * pair + 2 * member_;
        seen[pair] = (key >= first && key <= position ? 0xffffu : 0u) |
                     (key + 1 >= first && key + 1 <= position ? 0xffff0000u : 0u);
      }
#pragma unroll
      for (int dims = 0; dims < kWidth / 16; ++dims) {
        if (16 * dims >= p.head_dim) continue;
        uint32_t v[4];
        load_values(values, half, dims, v);
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          const uint32_t b[2] = {v[2 * side] & seen[0], v[2 * side + 1] & seen[1]};
          float (&sums)[4] = values_[2 * dims + side];
          float product[4] = {sums[0], sums[1], sums[2], sums[3]};
          ptx::mma_m16n8k16_bf16(product, a, b);
#pragma unroll
          for (int e = 0; e < 4; ++e)
            if (mine && (e >> 1) == i) sums[e] = product[e];
        }
      }
    }
  }

  const device::AttentionPagedParams& p;
  uint4* queries_;  // [Tiling::kQuerySteps][Tiling::kThreads] from this thread on, where they are not in registers
  int32_t lane_, group_, member_;
  TileView view_;
  int32_t row_[2], head_[2];        // row -1: there is no such slot
  int32_t position_[2], first_[2];  // keys first to position are seen
  uint32_t query_[Tiling::kQueriesInRegisters ? Tiling::kQuerySteps : 1][4];
  float largest_[2], sum_[2];  // sum: of this lane's keys
  float values_[kValueTiles][4];
};

}  // namespace lowrank::cuda
