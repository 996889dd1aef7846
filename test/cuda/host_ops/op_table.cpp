#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

const OpTable& op_table() {
  static constexpr OpTable table = {LOWRANK_INFERENCE_OPS(LOWRANK_OP_ENTRY)};
  return table;
}

}  // namespace lowrank::test::host_ops
