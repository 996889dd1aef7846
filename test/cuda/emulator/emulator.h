// How tests set the emulated device up, and what it tells of a kernel that broke the rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "emulator/runtime_api.h"
#include "emulator/vector_types.h"

namespace lowrank::emulator {

// Threads of a warp, warps of a block and blocks of a grid run in this order wherever the program leaves it open. Shuffled: in
// another one in each block, and warps take turns now and then.
enum class Order { kAscending, kDescending, kShuffled };

struct Settings {
  Order order = Order::kAscending;  // LOWRANK_EMULATED_ORDER: ascending, descending, shuffled or shuffled:SEED
  uint64_t seed = 1;
  // cp.async and the work of streams: as late as the program allows, or at once. LOWRANK_EMULATED_COPIES, _STREAMS: lazy or
  // eager.
  bool lazy_copies = true;
  bool lazy_streams = true;
  int devices = 1;                                // LOWRANK_EMULATED_DEVICES
  int driver_version = 13000;                     // LOWRANK_EMULATED_DRIVER
  int capability = 89;                            // LOWRANK_EMULATED_CAPABILITY: ten times the major version plus the minor
  int multiprocessors = 8;                        // LOWRANK_EMULATED_MULTIPROCESSORS
  size_t memory_bytes = size_t{4} << 30;          // of one device; LOWRANK_EMULATED_MEMORY
  size_t shared_bytes_opt_in = size_t{99} << 10;  // of one block: the least among the architectures that are built for
  int fault_at_launch = 0;                        // the n-th launch from now on fails; 0: none. LOWRANK_EMULATED_FAULT
};
// Those of the device, from the environment at first. Not to be changed while anything runs on it.
Settings& settings();

struct Counters {
  uint64_t launches;
  uint64_t blocks;
  uint64_t collectives;
  uint64_t ldmatrix_phases;          // groups of 8 rows that one ldmatrix reads together
  uint64_t ldmatrix_bank_conflicts;  // how many more turns they took than one each
};
Counters counters();

// What the first kernel, or the first call, that broke a rule did; empty: none has. The device then refuses everything, as a real
// one does, until recover().
std::string misuse();
void recover();

// In place of cudaLaunchKernel, which cannot know what a function's parameters are: calls `call(kernel, params)` in each thread
// of the grid, in the order of `stream`, with a copy of the parameters.
cudaError_t launch(const void* kernel, void (*call)(const void* kernel, const void* params), dim3 grid, dim3 block,
                   const void* params, size_t params_bytes, size_t shared_bytes, cudaStream_t stream);

}  // namespace lowrank::emulator
