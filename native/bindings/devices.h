// Devices as JavaScript sees them: cudaDevices and selectDevice of lib/native/types.ts.
#pragma once

#include <napi.h>

namespace lowrank::bindings {

// cudaDevices(plugin)
Napi::Value cuda_devices_of(const Napi::CallbackInfo& info);
// selectDevice(device, plugin)
Napi::Value select_device(const Napi::CallbackInfo& info);

}  // namespace lowrank::bindings
