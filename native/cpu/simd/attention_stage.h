// An int8 cache for the products that read bfloat16: a block's keys and values are widened in the first cache, which is exact,
// and their scales go into what they are multiplied with: a key's into its score, a value's into its weight. The
// softmax sums the weight as it was rounded with that scale, divided by it again.
#pragma once

#include "cpu/simd/attention_tiles.h"

namespace lowrank::cpu {

template <class S>
class StagedBlock {
 public:
  // The block in bfloat16, valid until the next call. Asks for the lines of `next`, and of `far` for later, as it goes.
  KvBlock widen(const KvBlock& block, const KvBlock& next, const KvBlock& far, int32_t head_dim) {
    widen_rows(block.k, next.k, far.k, head_dim, k_);
    widen_rows(block.v, next.v, far.v, head_dim, v_);
    for (int32_t j = 0; j < kPageTokens; j += 16) {
      prefetch_far(far.k_scale + j);
      prefetch_far(far.v_scale + j);
    }
    return {reinterpret_cast<const uint8_t*>(k_), reinterpret_cast<const uint8_t*>(v_), static_cast<size_t>(head_dim) * 2};
  }

 private:
  // The rows lie one behind the other here and there.
  static void widen_rows(const uint8_t* from, const uint8_t* next, const uint8_t* far, int32_t head_dim, uint16_t* to) {
    const auto count = static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim);
    for (size_t i = 0; i < count; i += 64) {
      prefetch(next + i);
      prefetch_far(far + i);
      S::widen_int8(reinterpret_cast<const int8_t*>(from) + i, to + i);
      S::widen_int8(reinterpret_cast<const int8_t*>(from) + i + 32, to + i + 32);
    }
  }

  alignas(64) uint16_t k_[kPageTokens * kMaxHeadDim];
  alignas(64) uint16_t v_[kPageTokens * kMaxHeadDim];
};

}  // namespace lowrank::cpu
