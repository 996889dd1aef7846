// The device ops as tests call them: with arguments that point to the host's memory. Parts above 0 do nothing.
#pragma once

#include "ops/op_table.h"

namespace lowrank::test::host_ops {

LOWRANK_INFERENCE_OPS(LOWRANK_DECLARE_OP)

const OpTable& op_table();

}  // namespace lowrank::test::host_ops
