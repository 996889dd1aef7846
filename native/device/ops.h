// The ops of a device: each turns the arguments of ops/<op>.h into the parameters of device/params/<op>.h, and adds them to
// the step that this thread records. Called with part 0 of 1.
#pragma once

#include "ops/op_table.h"

namespace lowrank::device {

LOWRANK_INFERENCE_OPS(LOWRANK_DECLARE_OP)

const OpTable& device_ops();

}  // namespace lowrank::device
