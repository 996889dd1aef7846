// The threads of one block, and how they take turns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/shared_memory.h"
#include "emulator/threads.h"

namespace lowrank::emulator {

struct LaunchRequest {
  const void* kernel;
  void (*call)(const void* kernel, const void* params);
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  size_t shared_limit;  // of static and dynamic shared memory together
  const void* params;
};

struct AsyncCopy {
  void* shared;
  const void* global;
  bool valid;
};

struct Warp;

struct Thread : ThreadView {
  Fiber fiber;
  bool rests = false;  // its fiber has run a thread to its end, and waits for the next one
  Warp* warp = nullptr;
  Location waits_at;
  const char* waits_for = nullptr;  // null: it runs, or has ended
  std::vector<AsyncCopy> copies;    // begun and not waited for, oldest first
  std::vector<size_t> groups;       // copies in each closed group, oldest first
  size_t open_copies = 0;           // in the group that is still open
  std::vector<const void*> observed;  // where atomics were, since the last fence
};

// Lanes that wait for each other at one instruction.
struct WaitingGroup {
  uint32_t mask;
  uint32_t arrived;
  const Collective* kind;
  Location where;
};

struct Warp {
  Thread* lanes[32];
  void* operands[32];
  uint32_t exists;      // lanes
  uint32_t exited;      // lanes
  uint32_t at_barrier;  // lanes
  uint32_t ready;       // turns: bit t is the lane lane_of_turn[t]
  uint8_t lane_of_turn[32];
  uint8_t turn_of_lane[32];
  bool turns_are_lanes;
  WaitingGroup groups[32];
  uint32_t group_count;
};

struct Misuse {
  int error;  // cudaError_t
  std::string text;
};

// Runs the blocks of a launch. Throws Misuse.
void run_grid(const LaunchRequest& request);
// Ends the launch, from within a kernel: "…: thread (1, 0, 0) of block (0, 0, 0) at kernel.cu:12.". Nothing of the kernel's
// threads is unwound, so it takes no objects that would have to be.
[[noreturn, gnu::format(printf, 3, 4)]] void end_launch(int error, Location where, const char* format, ...);
const char* file_name(Location where);

Thread& running_thread();

}  // namespace lowrank::emulator
