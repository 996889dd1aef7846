#include "emulator/fiber.h"

#include <sys/mman.h>

#include <new>

#include "emulator/sanitizers.h"

namespace lowrank::emulator {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kStack = (sanitizers::kAddress ? 64 : 16) * kPage;
constexpr size_t kStride = kStack + kPage;
// Stacks begin at various offsets, else the same frame of every fiber would want the same few lines of the caches.
constexpr size_t kColours = 64;
constexpr size_t kColourBytes = 128;

#if defined(LOWRANK_EMULATOR_ADDRESS)
// Whose stack the thread that launched has, for the way back.
const void* first_stack = nullptr;
size_t first_stack_bytes = 0;
#endif

}  // namespace

FiberStacks::FiberStacks(size_t count) : bytes_(count * kStride) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<uint8_t*>(memory);
  for (size_t i = 0; i < count; ++i) mprotect(memory_ + i * kStride, kPage, PROT_NONE);
}
FiberStacks::~FiberStacks() { munmap(memory_, bytes_); }

#if defined(__x86_64__)

// Saves what a function must keep on the old stack, changes stacks, takes it from the new one.
extern "C" void lowrank_emulator_change_stack(void** save, void* load);
asm(R"(
.text
.p2align 4
.type lowrank_emulator_change_stack, @function
lowrank_emulator_change_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size lowrank_emulator_change_stack, . - lowrank_emulator_change_stack
)");

void FiberStacks::prepare(Fiber& fiber, size_t index, void (*entry)()) {
  fiber.stack = memory_ + index * kStride + kPage;
  fiber.stack_bytes = kStack;
  fiber.fake_stack = nullptr;
  sanitizers::unpoison(fiber.stack, fiber.stack_bytes);
  // As if `entry` had been called: the stack pointer is 8 beyond a multiple of 16, at a return address that nobody takes.
  const size_t top = reinterpret_cast<size_t>(fiber.stack) + kStack - index % kColours * kColourBytes - 16;
  uint64_t* frame = reinterpret_cast<uint64_t*>(top - 8) - 7;
  for (int i = 0; i < 6; ++i) frame[i] = 0;
  frame[6] = reinterpret_cast<uint64_t>(entry);
  frame[7] = 0;
  fiber.stack_pointer = frame;
}

#else

void FiberStacks::prepare(Fiber& fiber, size_t index, void (*entry)()) {
  fiber.stack = memory_ + index * kStride + kPage;
  fiber.stack_bytes = kStack;
  fiber.fake_stack = nullptr;
  sanitizers::unpoison(fiber.stack, fiber.stack_bytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStack - index % kColours * kColourBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

#endif

void fiber_has_begun() {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (first_stack == nullptr) {
    first_stack = bottom;
    first_stack_bytes = bytes;
  }
#endif
}

void switch_fiber(Fiber& from, Fiber& to) {
#if defined(LOWRANK_EMULATOR_ADDRESS)
  if (from.stack == nullptr) first_stack = nullptr;  // learnt by the fiber that begins, or known to the one that goes on
  const bool back = to.stack == nullptr;
  __sanitizer_start_switch_fiber(&from.fake_stack, back ? first_stack : to.stack,
                                 back ? first_stack_bytes : to.stack_bytes);
#endif
#if defined(__x86_64__)
  lowrank_emulator_change_stack(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(LOWRANK_EMULATOR_ADDRESS)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(from.fake_stack, &bottom, &bytes);
  if (from.stack != nullptr && first_stack == nullptr) {
    first_stack = bottom;
    first_stack_bytes = bytes;
  }
#endif
}

}  // namespace lowrank::emulator
