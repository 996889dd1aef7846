// The kernels of matmul_expand, one file each.
#pragma once

#include "cuda/matmul_expand.h"

namespace lowrank::cuda {

void enqueue_gemv_int8(Launches& launches, const device::MatmulExpandParams& params);
void enqueue_small_batch_int8(Launches& launches, const device::MatmulExpandParams& params);
void enqueue_gemm_int8(Launches& launches, const device::MatmulExpandParams& params);
void enqueue_matmul_float(Launches& launches, const device::MatmulExpandParams& params);

}  // namespace lowrank::cuda
