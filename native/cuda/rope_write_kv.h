#pragma once

#include "cuda/launches.h"
#include "device/params/rope_write_kv.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::RopeAnglesParams& params);
void enqueue(Launches& launches, const device::RopeWriteKvParams& params);

}  // namespace lowrank::cuda
