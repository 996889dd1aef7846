// A line of execution with a stack of its own, switched to by hand.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace lowrank::emulator {

struct Fiber {
  void* stack_pointer = nullptr;  // while it does not run
  void* stack = nullptr;          // lowest address; null for the stack of the thread that began
  size_t stack_bytes = 0;
  void* fake_stack = nullptr;  // the address sanitizer's
#if !defined(__x86_64__)
  ucontext_t context;
#endif
};

// The stacks of `count` fibers, each with a page below it that may not be touched. Throws std::bad_alloc.
class FiberStacks {
 public:
  explicit FiberStacks(size_t count);
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;
  // Makes `fiber` start in `entry`, which must not return, at the next switch to it. What ran on this stack is forgotten.
  void prepare(Fiber& fiber, size_t index, void (*entry)());

 private:
  uint8_t* memory_;
  size_t bytes_;
};

// Called by `from`, which goes on from here when somebody switches to it.
void switch_fiber(Fiber& from, Fiber& to);
// The first thing that a fiber's entry does.
void fiber_has_begun();

}  // namespace lowrank::emulator
