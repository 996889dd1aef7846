// The CUDA of this project's kernels and of their host code, for a C++ compiler: every CUDA thread is a fiber on the CPU. A test
// tool: what ran here is called EMULATED.
#pragma once

#include <cmath>

#include "emulator/atomics.h"
#include "emulator/intrinsics.h"
#include "emulator/runtime_api.h"
#include "emulator/threads.h"
#include "emulator/vector_types.h"
#include "emulator/warp.h"

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))

#define threadIdx (::lowrank::emulator::current_thread->index)
#define blockIdx (::lowrank::emulator::current_block.index)
#define blockDim (::lowrank::emulator::current_block.block)
#define gridDim (::lowrank::emulator::current_block.grid)
inline constexpr int warpSize = 32;

#define LOWRANK_KERNEL(threads, blocks) void
#define LOWRANK_DEVICE inline __attribute__((always_inline))
#define LOWRANK_SHARED(type, name, count)                                                      \
  static const char name##_tag = 0;                                                            \
  type(&name)[count] = *static_cast<type(*)[count]>(                                           \
      ::lowrank::emulator::shared_array(&name##_tag, sizeof(type[count]), {}))
#define LOWRANK_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::lowrank::emulator::dynamic_shared())
