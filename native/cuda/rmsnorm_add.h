#pragma once

#include "cuda/launches.h"
#include "device/params/rmsnorm_add.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::RmsNormAddParams& params);

}  // namespace lowrank::cuda
