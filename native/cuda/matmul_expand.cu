#include "cuda/matmul_expand.h"

#include <cmath>

#include "cuda/matmul_kernels.h"
#include "cuda/warp.h"

namespace lowrank::cuda {

namespace {

constexpr int32_t kCapThreads = 256;

// y = cap tanh(y / cap). Grid: columns, kCapThreads a block; rows.
LOWRANK_KERNEL(kCapThreads, 1) soft_cap(device::MatmulExpandParams params) {
  const auto n = static_cast<int32_t>(blockIdx.x) * kCapThreads + static_cast<int32_t>(threadIdx.x);
  if (n >= params.w.rows) return;
  float* y = params.y + (params.row_begin + static_cast<int64_t>(blockIdx.y)) * params.y_stride + n;
  *y = params.soft_cap * tanhf(*y / params.soft_cap);
}

void enqueue_product(Launches& launches, const device::MatmulExpandParams& params) {
  const int32_t rows = params.row_end - params.row_begin;
  if (params.x.format == ActivationFormat::kFloat32) return enqueue_matmul_float(launches, params);
  if (rows <= kGemvRows) return enqueue_gemv_int8(launches, params);
  if (rows <= kSmallBatchRows) return enqueue_small_batch_int8(launches, params);
  enqueue_gemm_int8(launches, params);
}

}  // namespace

void enqueue(Launches& launches, const device::MatmulExpandParams& params) {
  enqueue_product(launches, params);
  if (params.soft_cap == 0.0f) return;
  const dim3 grid(static_cast<unsigned>((params.w.rows + kCapThreads - 1) / kCapThreads),
                  static_cast<unsigned>(params.row_end - params.row_begin));
  launches.add(soft_cap, grid, dim3(kCapThreads), 0, params);
}

}  // namespace lowrank::cuda
