// What every kernel file includes first. One source, two compilers: nvcc builds the plugin, and a C++ compiler builds the
// emulated plugin of the tests, for which the include path has an emulator in place of the CUDA runtime.
//
// Rules of a kernel file, so that both see the same program:
// - LOWRANK_KERNEL(threads, blocks) name(Params params): one plain struct by value. Launched through Launches alone.
// - Shared memory through LOWRANK_SHARED and LOWRANK_DYNAMIC_SHARED alone.
// - What C++ and CUDA's built-in functions lack is in cuda/ptx.h, one instruction a wrapper.
// - Built with -fmad=false: a fused multiply-add is written as __fmaf_rn, so that the emulation gives the same bits.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#define LOWRANK_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define LOWRANK_DEVICE __device__ __forceinline__
// `type name[count]`, aligned to 16 bytes, one for the block, not cleared.
#define LOWRANK_SHARED(type, name, count) __shared__ __align__(16) type name[count]
// `type* name`: the bytes that the launch asks for, aligned to 128 bytes.
#define LOWRANK_DYNAMIC_SHARED(type, name)                                       \
  extern __shared__ __align__(128) unsigned char lowrank_dynamic_shared[];       \
  type* const name = reinterpret_cast<type*>(lowrank_dynamic_shared)

#else

#include "emulator/cuda_runtime.h"  // the same names, emulated

#endif
