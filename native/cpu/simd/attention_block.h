// A block of keys and values as the products of attention_paged.h read it: one kv head in one page, KvLayout::kLanes.
#pragma once

#include "cpu/simd/prefetch.h"
#include "ops/attention_paged.h"

namespace lowrank::cpu {

inline constexpr int32_t kDimensionChunk = 64;
inline constexpr int32_t kBlockPairs = kPageTokens / 2;
inline constexpr int32_t kTileQueries = kAttentionTileQueries;
inline constexpr int32_t kTileQueryFloats = 2048;  // queries times head_dim rounded up to 64

struct KvBlock {
  const uint8_t* k;
  const uint8_t* v;
  KvFormat format;
  const float* k_scale = nullptr;  // [32], of int8 only
  const float* v_scale = nullptr;

  // Of bfloat16, anywhere.
  LOWRANK_INLINE KvBlock(const uint16_t* keys, const uint16_t* values)
      : k(reinterpret_cast<const uint8_t*>(keys)), v(reinterpret_cast<const uint8_t*>(values)), format(KvFormat::kBFloat16) {}

  LOWRANK_INLINE KvBlock(const AttentionPagedArgs& args, int32_t page, int32_t kv_head) : format(args.cache.format) {
    const size_t begin = (static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_elements) +
                          static_cast<size_t>(kv_head) * kPageTokens * static_cast<size_t>(args.head_dim)) *
                         kv_element_bytes(format);
    k = static_cast<const uint8_t*>(args.cache.k) + begin;
    v = static_cast<const uint8_t*>(args.cache.v) + begin;
    if (format != KvFormat::kInt8) return;
    const size_t scale = static_cast<size_t>(page) * static_cast<size_t>(args.cache.page_scales) +
                         static_cast<size_t>(kv_head) * kPageTokens;
    k_scale = args.cache.k_scale + scale;
    v_scale = args.cache.v_scale + scale;
  }
};

// Calls take(d, lanes [d, d + 16) of from) for each vector of a query, zero from head_dim up to `stride`.
template <class S, class Take>
LOWRANK_INLINE void for_each_vector(const float* from, int32_t head_dim, size_t stride, Take take) {
  for (int32_t d = 0; d < static_cast<int32_t>(stride); d += S::kLanes) {
    const int32_t left = head_dim - d;
    take(static_cast<size_t>(d), left > 0 ? S::load_first(from + d, left < S::kLanes ? left : S::kLanes) : S::zero());
  }
}

// The blocks to prefetch while another one is read: pages lie anywhere, so the hardware cannot guess the next one. The
// loops over a block prefetch line by line as they go: all at once, they would only queue up in front of the loads.
struct BlocksAhead {
  const KvBlock& next;  // into L1
  const KvBlock& far;   // into the second

  LOWRANK_INLINE void prefetch_keys(size_t byte, size_t bytes) const { prefetch_both(next.k, far.k, byte, bytes); }
  LOWRANK_INLINE void prefetch_values(size_t byte, size_t bytes) const { prefetch_both(next.v, far.v, byte, bytes); }

 private:
  static LOWRANK_INLINE void prefetch_both(const uint8_t* near_block, const uint8_t* far_block, size_t byte, size_t bytes) {
    for (size_t end = byte + bytes; byte < end; byte += 64) {
      prefetch(near_block + byte);
      prefetch_far(far_block + byte);
    }
  }
};

}  // namespace lowrank::cpu
