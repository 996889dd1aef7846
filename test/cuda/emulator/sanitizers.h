// What the emulator tells of accesses that it makes for kernels: its own files are built without a sanitizer. Nothing in a build
// that watches nothing.
#pragma once

#include <cstddef>

#include "emulator/races.h"

// Defined by the build (the compiler's own macro is off in these files): LOWRANK_EMULATOR_ADDRESS.
#if defined(LOWRANK_EMULATOR_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
extern "C" void __asan_loadN(void* data, size_t bytes);
extern "C" void __asan_storeN(void* data, size_t bytes);
#endif

namespace lowrank::emulator::sanitizers {

#if defined(LOWRANK_EMULATOR_ADDRESS)
inline constexpr bool kAddress = true;
inline void poison(const void* data, size_t bytes) { __asan_poison_memory_region(data, bytes); }
inline void unpoison(const void* data, size_t bytes) { __asan_unpoison_memory_region(data, bytes); }
#else
inline constexpr bool kAddress = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
#endif

// An access by whoever runs; `from`: the code that asked for it, by default the caller of the function that this stands in.
inline void note_read([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes,
                      [[maybe_unused]] const void* from = __builtin_return_address(0)) {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  __asan_loadN(const_cast<void*>(data), bytes);
#elif defined(LOWRANK_EMULATOR_THREAD)
  races::note(data, bytes, races::Kind::kRead, from);
#endif
}
inline void note_write([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes,
                       [[maybe_unused]] const void* from = __builtin_return_address(0)) {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  __asan_storeN(data, bytes);
#elif defined(LOWRANK_EMULATOR_THREAD)
  races::note(data, bytes, races::Kind::kWrite, from);
#endif
}
inline void note_atomic([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes,
                        [[maybe_unused]] const void* from = __builtin_return_address(0)) {
#if defined(LOWRANK_EMULATOR_THREAD)
  races::note(data, bytes, races::Kind::kAtomic, from);
#endif
}

}  // namespace lowrank::emulator::sanitizers
