// The calls that compilers put into code built with -fsanitize=thread. This file's and the emulator's own code have none.
#if defined(LOWRANK_EMULATOR_THREAD)

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator/races.h"

using lowrank::emulator::races::Kind;
using lowrank::emulator::races::note;

#define LOWRANK_CALL extern "C" __attribute__((visibility("default")))

LOWRANK_CALL void __tsan_init() {}
LOWRANK_CALL void __tsan_func_entry(void*) {}
LOWRANK_CALL void __tsan_func_exit() {}
LOWRANK_CALL void __tsan_vptr_update(void**, void*) {}
LOWRANK_CALL void __tsan_vptr_read(void**) {}

#define LOWRANK_ACCESS(name, bytes, kind) \
  LOWRANK_CALL void name(void* data) { note(data, bytes, kind, __builtin_return_address(0)); }
#define LOWRANK_ACCESSES(bytes)                                      \
  LOWRANK_ACCESS(__tsan_read##bytes, bytes, Kind::kRead)             \
  LOWRANK_ACCESS(__tsan_write##bytes, bytes, Kind::kWrite)           \
  LOWRANK_ACCESS(__tsan_unaligned_read##bytes, bytes, Kind::kRead)   \
  LOWRANK_ACCESS(__tsan_unaligned_write##bytes, bytes, Kind::kWrite)
LOWRANK_ACCESSES(1)
LOWRANK_ACCESSES(2)
LOWRANK_ACCESSES(4)
LOWRANK_ACCESSES(8)
LOWRANK_ACCESSES(16)

LOWRANK_CALL void __tsan_read_range(void* data, size_t bytes) {
  note(data, bytes, Kind::kRead, __builtin_return_address(0));
}
LOWRANK_CALL void __tsan_write_range(void* data, size_t bytes) {
  note(data, bytes, Kind::kWrite, __builtin_return_address(0));
}

// Clang calls these in place of the library's functions.
LOWRANK_CALL void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  note(from, bytes, Kind::kRead, __builtin_return_address(0));
  note(to, bytes, Kind::kWrite, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}
LOWRANK_CALL void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  note(from, bytes, Kind::kRead, __builtin_return_address(0));
  note(to, bytes, Kind::kWrite, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}
LOWRANK_CALL void* __tsan_memset(void* to, int value, size_t bytes) {
  note(to, bytes, Kind::kWrite, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

// Those of the standard library; kernels' atomic operations are told of in access.cpp. Stricter than asked for, which is right.
#define LOWRANK_ATOMIC_CHANGE(bits, type, name)                                                 \
  LOWRANK_CALL type __tsan_atomic##bits##_##name(volatile type* data, type value, int) {        \
    return __atomic_##name(data, value, __ATOMIC_SEQ_CST);                                      \
  }
#define LOWRANK_ATOMIC_EXCHANGE_IF(bits, type, strength)                                                                \
  LOWRANK_CALL int __tsan_atomic##bits##_compare_exchange_##strength(volatile type* data, type* expected, type value, int, \
                                                                     int) {                                             \
    return __atomic_compare_exchange_n(data, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }
#define LOWRANK_ATOMICS(bits, type)                                                                  \
  LOWRANK_CALL type __tsan_atomic##bits##_load(const volatile type* data, int) {                     \
    return __atomic_load_n(data, __ATOMIC_SEQ_CST);                                                  \
  }                                                                                                  \
  LOWRANK_CALL void __tsan_atomic##bits##_store(volatile type* data, type value, int) {              \
    __atomic_store_n(data, value, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                                  \
  LOWRANK_CALL type __tsan_atomic##bits##_exchange(volatile type* data, type value, int) {           \
    return __atomic_exchange_n(data, value, __ATOMIC_SEQ_CST);                                       \
  }                                                                                                  \
  LOWRANK_ATOMIC_CHANGE(bits, type, fetch_add)                                                       \
  LOWRANK_ATOMIC_CHANGE(bits, type, fetch_sub)                                                       \
  LOWRANK_ATOMIC_CHANGE(bits, type, fetch_and)                                                       \
  LOWRANK_ATOMIC_CHANGE(bits, type, fetch_or)                                                        \
  LOWRANK_ATOMIC_CHANGE(bits, type, fetch_xor)                                                       \
  LOWRANK_ATOMIC_EXCHANGE_IF(bits, type, strong)                                                     \
  LOWRANK_ATOMIC_EXCHANGE_IF(bits, type, weak)
LOWRANK_ATOMICS(8, uint8_t)
LOWRANK_ATOMICS(16, uint16_t)
LOWRANK_ATOMICS(32, uint32_t)
LOWRANK_ATOMICS(64, uint64_t)

LOWRANK_CALL void __tsan_atomic_thread_fence(int) {}
LOWRANK_CALL void __tsan_atomic_signal_fence(int) {}

#endif
