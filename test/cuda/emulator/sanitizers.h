// What the emulator tells the sanitizers, which do not see into it: its own files are built without them, so that only the
// accesses of kernels count. Empty functions in a build without a sanitizer.
#pragma once

#include <cstddef>

// Defined by the build (the compiler's own macros are off in these files): LOWRANK_EMULATOR_ADDRESS, LOWRANK_EMULATOR_THREAD.

#if defined(LOWRANK_EMULATOR_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
extern "C" void __asan_loadN(void* data, size_t bytes);
extern "C" void __asan_storeN(void* data, size_t bytes);
#endif

#if defined(LOWRANK_EMULATOR_THREAD)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_read_range(void* data, unsigned long bytes);
extern "C" void __tsan_write_range(void* data, unsigned long bytes);
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
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

// An access of the kernel's thread that runs.
inline void note_read([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes) {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  __asan_loadN(const_cast<void*>(data), bytes);
#elif defined(LOWRANK_EMULATOR_THREAD)
  __tsan_read_range(const_cast<void*>(data), bytes);
#endif
}
inline void note_write([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  __asan_storeN(data, bytes);
#elif defined(LOWRANK_EMULATOR_THREAD)
  __tsan_write_range(data, bytes);
#endif
}

// While it lives, what the emulator does for itself through functions of libraries is not taken for the kernel's doing.
class Unseen {
 public:
#if defined(LOWRANK_EMULATOR_THREAD)
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// Happens-before: all that came before a release of `point` comes before all that comes after a later acquire of it.
#if defined(LOWRANK_EMULATOR_THREAD)
inline constexpr bool kThread = true;
inline void release(const void* point) { __tsan_release(const_cast<void*>(point)); }
inline void acquire(const void* point) { __tsan_acquire(const_cast<void*>(point)); }
// A line of execution of its own, that begins after all that the present one has done.
inline void* begin_line() { return __tsan_create_fiber(0); }
inline void end_line(void* line) { __tsan_destroy_fiber(line); }
inline void* current_line() { return __tsan_get_current_fiber(); }
// Orders nothing.
inline void go_on_as(void* line) { __tsan_switch_to_fiber(line, __tsan_switch_to_fiber_no_sync); }
#else
inline constexpr bool kThread = false;
inline void release(const void*) {}
inline void acquire(const void*) {}
inline void* begin_line() { return nullptr; }
inline void end_line(void*) {}
inline void* current_line() { return nullptr; }
inline void go_on_as(void*) {}
#endif

}  // namespace lowrank::emulator::sanitizers
