// What the emulated built-in functions need of the thread that runs and of its block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "emulator/vector_types.h"

namespace lowrank::emulator {

// A line of a kernel, as a default argument: the caller's.
struct Location {
  const char* file;
  int line;
  constexpr Location(const char* in_file = __builtin_FILE(), int in_line = __builtin_LINE())
      : file(in_file), line(in_line) {}
};

struct ThreadView {
  uint3 index;
  uint32_t number;  // of the block's threads
  uint32_t lane;
  bool has_fenced;  // has met a __threadfence
};
struct BlockView {
  uint3 index;
  dim3 block;
  dim3 grid;
};
// The thread that runs (null outside a kernel), and its block.
extern ThreadView* current_thread;
extern BlockView current_block;

inline constexpr uint32_t kWholeWarp = 0xffffffffu;

// An instruction that lanes run together. `combine` reads and writes the operands of the lanes in `mask`, once all are there.
struct Collective {
  const char* name;
  void (*combine)(void* const (&operands)[32], uint32_t mask);
  bool aligned;       // all lanes must be at the same line
  bool orders_memory;  // what came before it in one lane is seen after it in the others
};
void collective(const Collective& kind, uint32_t mask, void* operand, Location where);

// Waits for all threads of the block; gives how many of them brought `predicate`.
int barrier(bool predicate, Location where);
void thread_fence();

// A shared array of the block, told apart by the address of its tag: made by the first thread that asks.
void* shared_array(const void* tag, size_t bytes, Location where);
void* dynamic_shared();

// cp.async: see cuda/ptx.h.
void copy_async(void* shared, const void* global, bool valid, Location where);
void commit_copies();
void wait_copies(size_t pending);

// Ends the launch with an error unless [data, data + bytes) lies in one shared array, or in one allocation of the device, and is
// aligned to `bytes`. Tells the sanitizers of the access.
void check_shared_read(const void* data, size_t bytes, const char* what, Location where);
void check_global_read(const void* data, size_t bytes, const char* what, Location where);
void check_global_atomic(const void* data, size_t bytes, Location where);

// An atomic operation at `data` is about to happen, has happened: what fences make of it for the race detector.
void before_atomic(const void* data);
void after_atomic(const void* data);

}  // namespace lowrank::emulator
