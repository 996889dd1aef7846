// An int8 cache for the products that read bfloat16: a block's keys and values are widened in the first cache, which is exact,
// and their scales go into what they are multiplied with: a key's into its score, a value's into its weight. The
// softmax sums the weight as it was rounded with that scale, divided by it again. Pairs stay where they are.
#pragma once

#include "cpu/simd/attention_block.h"

namespace lowrank::cpu {

template <class S>
class StagedBlock {
 public:
  // The block in bfloat16, valid until the next call. Asks for the blocks ahead as it goes.
  KvBlock widen(const KvBlock& block, const BlocksAhead& ahead, int32_t head_dim) {
    const auto count = static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim);
    for (size_t i = 0; i < count; i += 64) {
      ahead.ask_keys(i, 64);
      widen_line(block.k + i, k_ + i);
    }
    for (size_t i = 0; i < count; i += 64) {
      ahead.ask_values(i, 64);
      widen_line(block.v + i, v_ + i);
    }
    for (int32_t j = 0; j < kPageTokens; j += 16) {
      prefetch_far(ahead.far.k_scale + j);
      prefetch_far(ahead.far.v_scale + j);
    }
    return {k_, v_};
  }

 private:
  static LOWRANK_INLINE void widen_line(const uint8_t* from, uint16_t* to) {
    S::widen_int8(reinterpret_cast<const int8_t*>(from), to);
    S::widen_int8(reinterpret_cast<const int8_t*>(from) + 32, to + 32);
  }

  alignas(64) uint16_t k_[kPageTokens * kMaxHeadDim];
  alignas(64) uint16_t v_[kPageTokens * kMaxHeadDim];
};

}  // namespace lowrank::cpu
