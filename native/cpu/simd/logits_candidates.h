// The blocks of ops/logits_candidates.h, 16 lanes at a time: a block is read twice, the second time from the nearest cache.
// Lane l of chain c takes the ids 64 i + 16 c + l, the chains are added in pairs.
#pragma once

#include <limits>

#include "cpu/simd/exponential.h"
#include "ops/logits_candidates.h"

namespace lowrank::cpu {

inline constexpr int kLogitChains = 4;

// Chain c of the group at `x`, of which `count` ids are left; minus infinity behind them.
template <class S>
LOWRANK_INLINE typename S::F32 load_logits(const float* x, int32_t count, int c) {
  const int32_t left = count - c * S::kLanes;
  if (left >= S::kLanes) return S::load(x + c * S::kLanes);
  const auto nothing = S::set1(-std::numeric_limits<float>::infinity());
  if (left <= 0) return nothing;
  return S::keep_range(S::load_first(x + c * S::kLanes, left), 0, left, nothing);
}

// Peaks of the groups and of all; whether there is a NaN.
template <class S>
LOWRANK_INLINE LogitsBlock find_peaks(const float* x, int32_t count, float* group_peaks) {
  static_assert(kLogitGroup == kLogitChains * S::kLanes);
  constexpr int32_t kInfinityBits = 0x7f800000;
  const auto sign_off = S::int_set1(0x7fffffff);
  auto largest_bits = S::int_zero();
  LogitsBlock block{-std::numeric_limits<float>::infinity(), 0, 0, 0};
  for (int32_t k = 0; k < count; k += kLogitGroup) {
    typename S::F32 v[kLogitChains];
#pragma GCC unroll 4
    for (int c = 0; c < kLogitChains; ++c) {
      v[c] = load_logits<S>(x + k, count - k, c);
      largest_bits = S::int_max(largest_bits, S::int_and(S::bits(v[c]), sign_off));
    }
    const float peak = S::reduce_max(S::max(S::max(v[0], v[1]), S::max(v[2], v[3])));
    group_peaks[k / kLogitGroup] = peak;
    block.peak = peak > block.peak ? peak : block.peak;
  }
  block.has_nan = S::int_reduce_max(largest_bits) > kInfinityBits ? 1 : 0;
  return block;
}

// Far below the peak exponential() gives 1.6e-38 in place of 0: nothing beside the peak's 1.
template <class S>
LOWRANK_INLINE void sum_exponentials(const float* x, int32_t count, float factor, LogitsBlock& block) {
  using F = typename S::F32;
  const F peak = S::set1(block.peak), scale = S::set1(factor), lowest = S::set1(-87.0f);
  F sum[kLogitChains] = {S::zero(), S::zero(), S::zero(), S::zero()};
  F weighted[kLogitChains] = {S::zero(), S::zero(), S::zero(), S::zero()};
  for (int32_t k = 0; k < count; k += kLogitGroup) {
#pragma GCC unroll 4
    for (int c = 0; c < kLogitChains; ++c) {
      const F exponent = S::max(lowest, S::mul(S::sub(load_logits<S>(x + k, count - k, c), peak), scale));
      const F weight = exponential<S>(exponent);
      sum[c] = S::add(sum[c], weight);
      weighted[c] = S::fma(exponent, weight, weighted[c]);
    }
  }
  block.sum = S::reduce_add(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
  block.weighted = S::reduce_add(S::add(S::add(weighted[0], weighted[1]), S::add(weighted[2], weighted[3])));
}

template <class S>
void reduce_logits(const LogitsCandidatesArgs& args, int part, int parts) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // Blocks outside, rows inside: a thread finds here what it wrote of each row.
  const Range pairs = split(logit_blocks(args.vocabulary) * args.row_count, 1, part, parts);
  for (int32_t pair = pairs.begin; pair < pairs.end; ++pair) {
    const LogitsRow& row = args.rows[pair % args.row_count];
    const int32_t index = pair / args.row_count;
    const int32_t begin = index * kLogitBlock;
    const int32_t count = args.vocabulary - begin < kLogitBlock ? args.vocabulary - begin : kLogitBlock;
    float adjusted[kLogitBlock];
    const float* x = row.logits + begin;
    if (row.adjusted()) {
      adjusted_logits(row, begin, count, adjusted);
      x = adjusted;
    }
    LogitsBlock block = find_peaks<S>(x, count, row.group_peaks + begin / kLogitGroup);
    const bool summed = row.factor != 0 && block.has_nan == 0 && block.peak > -kInfinity && block.peak < kInfinity;
    if (summed) sum_exponentials<S>(x, count, row.factor, block);
    row.blocks[index] = block;
  }
}

}  // namespace lowrank::cpu
