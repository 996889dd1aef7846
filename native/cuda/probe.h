// What CUDA devices there are, and why one cannot be used.
#pragma once

#include "device/plugin.h"

namespace lowrank::cuda {

// Throws Failure(kUnavailable) where the driver is missing or too old, or finds no device.
int32_t device_count();

device::DeviceDescription describe_device(int32_t index);

}  // namespace lowrank::cuda
