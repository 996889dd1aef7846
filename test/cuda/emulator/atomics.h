// Atomic operations on memory of the device and of the block: relaxed, as CUDA's are. Others see what came before one only
// through a __threadfence before it, and a __threadfence after theirs.
#pragma once

#include <cstring>

#include "emulator/threads.h"

namespace lowrank::emulator {

template <class T, class Change>
inline T atomic_change(T* data, Change change, Location where) {
  check_global_atomic(data, sizeof(T), where);
  before_atomic(data);
  T old;
  __atomic_load(data, &old, __ATOMIC_RELAXED);
  T next = change(old);
  while (!__atomic_compare_exchange(data, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) next = change(old);
  after_atomic(data);
  return old;
}

}  // namespace lowrank::emulator

#define LOWRANK_ATOMIC(name, type, changed)                                                                        \
  inline type name(type* data, type value, ::lowrank::emulator::Location where = {}) {                       \
    return ::lowrank::emulator::atomic_change(data, [value](type old) -> type { return changed; }, where);   \
  }
LOWRANK_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
LOWRANK_ATOMIC(atomicAdd, unsigned, old + value)
LOWRANK_ATOMIC(atomicAdd, unsigned long long, old + value)
LOWRANK_ATOMIC(atomicSub, unsigned, old - value)
LOWRANK_ATOMIC(atomicMax, int, old < value ? value : old)
LOWRANK_ATOMIC(atomicMax, unsigned, old < value ? value : old)
LOWRANK_ATOMIC(atomicMax, unsigned long long, old < value ? value : old)
LOWRANK_ATOMIC(atomicMin, int, value < old ? value : old)
LOWRANK_ATOMIC(atomicMin, unsigned, value < old ? value : old)
LOWRANK_ATOMIC(atomicMin, unsigned long long, value < old ? value : old)
LOWRANK_ATOMIC(atomicAnd, unsigned, old & value)
LOWRANK_ATOMIC(atomicOr, unsigned, old | value)
LOWRANK_ATOMIC(atomicXor, unsigned, old ^ value)
LOWRANK_ATOMIC(atomicExch, int, (static_cast<void>(old), value))
LOWRANK_ATOMIC(atomicExch, unsigned, (static_cast<void>(old), value))
LOWRANK_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
#undef LOWRANK_ATOMIC

#define LOWRANK_ATOMIC_CAS(type)                                                                                      \
  inline type atomicCAS(type* data, type compare, type value, ::lowrank::emulator::Location where = {}) {       \
    return ::lowrank::emulator::atomic_change(                                                                  \
        data, [compare, value](type old) -> type { return old == compare ? value : old; }, where);                    \
  }
LOWRANK_ATOMIC_CAS(int)
LOWRANK_ATOMIC_CAS(unsigned)
LOWRANK_ATOMIC_CAS(unsigned long long)
#undef LOWRANK_ATOMIC_CAS

inline void __threadfence() { ::lowrank::emulator::thread_fence(); }
inline void __threadfence_block() { ::lowrank::emulator::thread_fence(); }
