// Barriers, and what the lanes of a warp tell each other. None but the barriers orders memory.
#pragma once

#include <cstring>
#include <type_traits>

#include "emulator/threads.h"

namespace lowrank::emulator {

struct ShuffleOperand {
  uint64_t value;
  uint32_t source;  // lane
};
extern const Collective kShuffle;

template <class T>
inline T shuffle(uint32_t mask, T value, uint32_t source, Location where) {
  static_assert(std::is_arithmetic_v<T>);
  ShuffleOperand operand{0, source};
  std::memcpy(&operand.value, &value, sizeof value);
  collective(kShuffle, mask, &operand, where);
  std::memcpy(&value, &operand.value, sizeof value);
  return value;
}

// In and out: `value`. Reductions of int go by the bits of unsigned where they are the same.
struct VoteOperand {
  uint32_t value;
};
extern const Collective kSyncWarp, kBallot, kMatchAny, kReduceAdd, kReduceAnd, kReduceOr, kReduceXor, kReduceMinSigned,
    kReduceMaxSigned, kReduceMinUnsigned, kReduceMaxUnsigned;

template <class T>
inline T vote(const Collective& kind, uint32_t mask, T value, Location where) {
  VoteOperand operand{static_cast<uint32_t>(value)};
  collective(kind, mask, &operand, where);
  return static_cast<T>(operand.value);
}

inline uint32_t lane() { return current_thread->lane; }
// The first lane of this lane's part of the warp.
inline uint32_t part_begin(int width) { return lane() & ~static_cast<uint32_t>(width - 1); }

}  // namespace lowrank::emulator

#define LOWRANK_WHERE ::lowrank::emulator::Location where = {}

inline void __syncthreads(LOWRANK_WHERE) { ::lowrank::emulator::barrier(false, where); }
inline int __syncthreads_count(int predicate, LOWRANK_WHERE) {
  return ::lowrank::emulator::barrier(predicate != 0, where);
}
inline int __syncthreads_or(int predicate, LOWRANK_WHERE) {
  return ::lowrank::emulator::barrier(predicate != 0, where) != 0;
}
inline int __syncthreads_and(int predicate, LOWRANK_WHERE) {
  return ::lowrank::emulator::barrier(predicate == 0, where) == 0;
}
inline void __syncwarp(uint32_t mask = ::lowrank::emulator::kWholeWarp, LOWRANK_WHERE) {
  ::lowrank::emulator::collective(::lowrank::emulator::kSyncWarp, mask, nullptr, where);
}

// `width`: a power of two up to 32; each such part of the warp is a world of its own.
template <class T>
inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32, LOWRANK_WHERE) {
  using namespace ::lowrank::emulator;
  return shuffle(mask, value, part_begin(width) + (static_cast<uint32_t>(source) & static_cast<uint32_t>(width - 1)), where);
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = 32, LOWRANK_WHERE) {
  using namespace ::lowrank::emulator;
  const uint32_t source = lane() ^ static_cast<uint32_t>(lane_mask);
  return shuffle(mask, value, source < part_begin(width) + static_cast<uint32_t>(width) ? source : lane(), where);
}
template <class T>
inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, LOWRANK_WHERE) {
  using namespace ::lowrank::emulator;
  return shuffle(mask, value, lane() - part_begin(width) >= delta ? lane() - delta : lane(), where);
}
template <class T>
inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, LOWRANK_WHERE) {
  using namespace ::lowrank::emulator;
  return shuffle(mask, value, lane() - part_begin(width) + delta < static_cast<uint32_t>(width) ? lane() + delta : lane(), where);
}

inline unsigned __ballot_sync(uint32_t mask, int predicate, LOWRANK_WHERE) {
  return ::lowrank::emulator::vote(::lowrank::emulator::kBallot, mask, predicate != 0 ? 1u : 0u, where);
}
inline int __any_sync(uint32_t mask, int predicate, LOWRANK_WHERE) { return __ballot_sync(mask, predicate, where) != 0; }
inline int __all_sync(uint32_t mask, int predicate, LOWRANK_WHERE) { return __ballot_sync(mask, predicate, where) == mask; }
inline unsigned __match_any_sync(uint32_t mask, unsigned value, LOWRANK_WHERE) {
  return ::lowrank::emulator::vote(::lowrank::emulator::kMatchAny, mask, value, where);
}

#define LOWRANK_REDUCE(name, type, kind)                                                     \
  inline type name(uint32_t mask, type value, LOWRANK_WHERE) {                               \
    return ::lowrank::emulator::vote(::lowrank::emulator::kind, mask, value, where); \
  }
LOWRANK_REDUCE(__reduce_add_sync, int, kReduceAdd)
LOWRANK_REDUCE(__reduce_add_sync, unsigned, kReduceAdd)
LOWRANK_REDUCE(__reduce_min_sync, int, kReduceMinSigned)
LOWRANK_REDUCE(__reduce_min_sync, unsigned, kReduceMinUnsigned)
LOWRANK_REDUCE(__reduce_max_sync, int, kReduceMaxSigned)
LOWRANK_REDUCE(__reduce_max_sync, unsigned, kReduceMaxUnsigned)
LOWRANK_REDUCE(__reduce_and_sync, unsigned, kReduceAnd)
LOWRANK_REDUCE(__reduce_or_sync, unsigned, kReduceOr)
LOWRANK_REDUCE(__reduce_xor_sync, unsigned, kReduceXor)
#undef LOWRANK_REDUCE
#undef LOWRANK_WHERE
