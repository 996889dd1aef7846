// Asking for a line of memory before it is needed. Asking for what is not there does nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/simd/force_inline.h"

namespace lowrank::cpu {

static LOWRANK_INLINE void prefetch(const void* line) {
#if defined(__GNUC__)
  __builtin_prefetch(line);
#else
  (void)line;
#endif
}

// Into L2 only, which has more misses under way than L1: what is needed later than L1 can keep it.
// The line lies `offset` bytes from p.
static LOWRANK_INLINE void prefetch_far(const void* p, size_t offset = 0) {
#if defined(__GNUC__)
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + offset), 0, 2);
#else
  (void)p, (void)offset;
#endif
}

// To be written: another core may hold it.
static LOWRANK_INLINE void prefetch_output(const void* line) {
#if defined(__GNUC__)
  __builtin_prefetch(line, 1);
#else
  (void)line;
#endif
}

}  // namespace lowrank::cpu
