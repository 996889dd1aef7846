#include "cuda/matmul_expand.h"

#include "cuda/matmul_kernels.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::MatmulExpandParams& params) {
  const int32_t rows = params.row_end - params.row_begin;
  if (params.x.format == ActivationFormat::kFloat32) return enqueue_matmul_float(launches, params);
  if (rows <= kGemvRows) return enqueue_gemv_int8(launches, params);
  if (rows <= kSmallBatchRows) return enqueue_small_batch_int8(launches, params);
  enqueue_gemm_int8(launches, params);
}

}  // namespace lowrank::cuda
