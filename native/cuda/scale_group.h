// The size of scale groups that all kernels are written for; device/packing.cpp refuses others.
#pragma once

#include "device/params/common.h"

namespace lowrank::cuda {

using device::kScaleGroup;
using device::scale_groups;

}  // namespace lowrank::cuda
