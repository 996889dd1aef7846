#pragma once

#include "cuda/launches.h"
#include "device/params/embed_gather.h"

namespace lowrank::cuda {

void enqueue(Launches& launches, const device::EmbedGatherParams& params);

}  // namespace lowrank::cuda
