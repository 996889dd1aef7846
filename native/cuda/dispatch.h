// From an op of a step to its kernel launches.
#pragma once

#include <cstddef>

#include "cuda/launches.h"
#include "device/plugin.h"

namespace lowrank::cuda {

// Throws Failure(kInvalidArgument) for an unknown code, or parameters of another size.
void enqueue_op(Launches& launches, const device::OpRecord& op);

}  // namespace lowrank::cuda
