// Devices as JavaScript sees them: cudaDevices and selectDevice of lib/native/types.ts.
#pragma once

#include <napi.h>

#include <string>

#include "backend/backend.h"

namespace lowrank::bindings {

// cudaDevices(plugin)
Napi::Value cuda_devices_of(const Napi::CallbackInfo& info);
// selectDevice(device, plugin)
Napi::Value select_device(const Napi::CallbackInfo& info);

// Bytes of keys and values that an engine on this backend may take where nobody said how many: `otherwise` on the CPU, half of
// what a device has free.
size_t default_kv_cache_bytes(const Backend& backend, const std::string& device, const std::string& plugin, size_t otherwise);

}  // namespace lowrank::bindings
