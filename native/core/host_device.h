// For the few functions that CUDA kernels share with the host: their results must be the same bits on both.
#pragma once

#if defined(__CUDACC__)
#define LOWRANK_HOST_DEVICE __host__ __device__
#else
#define LOWRANK_HOST_DEVICE
#endif
