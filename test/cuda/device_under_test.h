// The device backend of these tests: on the emulated plugin, or on the one that LOWRANK_CUDA_PLUGIN names.
#pragma once

#include <string>

#include "device/device_backend.h"

namespace lowrank::test {

// Its op table takes arguments that point to the host's memory, as the tests of ops/ give them: see host_call.h.
const device::DeviceBackend& device_under_test();

// The plugin's file.
std::string plugin_under_test();

}  // namespace lowrank::test
