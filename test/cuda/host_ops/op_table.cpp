#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable ops = {LOWRANK_INFERENCE_OPS(LOWRANK_OP_ENTRY)};
    ops.matmul_kernels.of(WeightFormat::kInt8, ActivationFormat::kInt8) = matmul_expand;
    for (const WeightFormat weights : {WeightFormat::kInt8, WeightFormat::kBFloat16, WeightFormat::kFloat32})
      ops.matmul_kernels.of(weights, ActivationFormat::kFloat32) = matmul_expand;
    return ops;
  }();
  return table;
}

}  // namespace lowrank::test::host_ops
