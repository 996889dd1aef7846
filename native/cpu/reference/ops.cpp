#include "cpu/reference/ops.h"

#include "generated/instruction_sets.h"

namespace lowrank::cpu {

const OpTable& reference::ops() {
  using namespace reference;
  static const OpTable table = {
      LOWRANK_INFERENCE_OPS(LOWRANK_OP_ENTRY).matmul_kernels = matmul_kernels(),
      .training = {LOWRANK_TRAINING_OPS(LOWRANK_OP_ENTRY)},
  };
  return table;
}

}  // namespace lowrank::cpu
