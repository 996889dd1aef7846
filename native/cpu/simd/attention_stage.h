// An int8 cache for the products that read bfloat16: a block's keys and values are widened in L1, which is exact,
// and their scales go into what they are multiplied with: a key's into its score, a value's into its weight. The
// softmax sums the weight as it was rounded with that scale, divided by it again. Quads of bytes become pairs; pairs stay where they are.
#pragma once

#include "cpu/simd/attention_block.h"

namespace lowrank::cpu {

template <class S>
class StagedBlock {
 public:
  // The block in bfloat16, valid until the next call. Asks for the blocks ahead as it goes.
  KvBlock widen(const KvBlock& block, const BlocksAhead& ahead, int32_t head_dim) {
    const auto prefetch_keys = [&](size_t byte) { ahead.prefetch_keys(byte, 64); };
    const auto prefetch_values = [&](size_t byte) { ahead.prefetch_values(byte, 64); };
    if (kv_depth(KvFormat::kInt8, head_dim) == 4) {
      widen_quads(block.k, head_dim / 4, kPageTokens, k_, prefetch_keys);
      widen_quads(block.v, kPageTokens / 4, head_dim, v_, prefetch_values);
    } else {
      widen_pairs(block.k, head_dim, k_, prefetch_keys);
      widen_pairs(block.v, head_dim, v_, prefetch_values);
    }
    for (int32_t j = 0; j < kPageTokens; j += 16) {
      prefetch_far(ahead.far.k_scale + j);
      prefetch_far(ahead.far.v_scale + j);
    }
    return {k_, v_};
  }

 private:
  using I = typename S::I32;

  template <class Prefetch>
  static void widen_pairs(const uint8_t* from, int32_t head_dim, uint16_t* to, Prefetch prefetch) {
    const auto count = static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim);
    for (size_t i = 0; i < count; i += 64) {
      prefetch(i);
      S::widen_int8(reinterpret_cast<const int8_t*>(from) + i, to + i);
      S::widen_int8(reinterpret_cast<const int8_t*>(from) + i + 32, to + i + 32);
    }
  }

  // [rows][lanes][4] bytes as [2 rows][lanes][2] bfloat16.
  template <class Prefetch>
  static void widen_quads(const uint8_t* from, int32_t rows, int32_t lanes, uint16_t* to, Prefetch prefetch) {
    for (int32_t row = 0; row < rows; ++row, to += size_t{4} * static_cast<size_t>(lanes))
      for (int32_t lane = 0; lane < lanes; lane += S::kLanes) {
        const size_t byte = (static_cast<size_t>(row) * static_cast<size_t>(lanes) + static_cast<size_t>(lane)) * 4;
        const int32_t count = lanes - lane < S::kLanes ? lanes - lane : S::kLanes;
        prefetch(byte);
        const I quads = count == S::kLanes ? S::int_load(from + byte) : S::int_load_first(from + byte, count);
        store(to + 2 * lane, pair(byte_of<0>(quads), byte_of<1>(quads)), count);
        store(to + 2 * (lanes + lane), pair(byte_of<2>(quads), byte_of<3>(quads)), count);
      }
  }

  template <int Byte>
  static LOWRANK_INLINE I byte_of(I quads) {
    return S::template int_shift_right<24>(S::template int_shift_left<24 - 8 * Byte>(quads));
  }
  // Both in bfloat16, which holds them exactly: the upper halves of their floats.
  static LOWRANK_INLINE I pair(I first, I second) {
    const I low = S::int_and(S::template int_shift_right<16>(S::bits(S::to_float(first))), S::int_set1(0xffff));
    const I high = S::int_and(S::bits(S::to_float(second)), S::int_set1(static_cast<int32_t>(0xffff0000u)));
    return S::int_xor(low, high);
  }
  static LOWRANK_INLINE void store(uint16_t* to, I pairs, int32_t count) {
    S::store_first(reinterpret_cast<float*>(to), S::from_bits(pairs), count);
  }

  alignas(64) uint16_t k_[kPageTokens * kMaxHeadDim];
  alignas(64) uint16_t v_[kPageTokens * kMaxHeadDim];
};

}  // namespace lowrank::cpu
