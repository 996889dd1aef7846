#include "device/plugin.h"

#include <memory>
#include <new>

#include "cuda/device.h"
#include "cuda/probe.h"
#include "cuda/status.h"
#include "device/op_params.h"

#define LOWRANK_TEXT_OF(value) #value
#define LOWRANK_TEXT(value) LOWRANK_TEXT_OF(value)

namespace lowrank::cuda {
namespace {

using device::PluginDevice;
using device::PluginMessage;
using device::Status;

Device& own(PluginDevice* device) { return *reinterpret_cast<Device*>(device); }

Status copy(PluginDevice* device, void* to, const void* from, size_t bytes, cudaMemcpyKind kind, PluginMessage* message) {
  return guarded(message, [&] { own(device).copy(to, from, bytes, kind); });
}

constexpr device::PluginTable kTable = {
    .version = device::kPluginVersion,
    .table_bytes = sizeof(device::PluginTable),
#if defined(__CUDACC__)
    .kind = "cuda",
    .description = "CUDA " LOWRANK_TEXT(__CUDACC_VER_MAJOR__) "." LOWRANK_TEXT(__CUDACC_VER_MINOR__),
#else
    .kind = "cuda-emulated",
    .description = "EMULATED CUDA",
#endif
    .op_params_bytes = device::kOpParamsBytes,
    .probe = [](int32_t* devices, PluginMessage* message) { return guarded(message, [&] { *devices = device_count(); }); },
    .describe =
        [](int32_t index, device::DeviceDescription* description, PluginMessage* message) {
          return guarded(message, [&] { *description = describe_device(index); });
        },
    .open =
        [](int32_t index, PluginDevice** device, PluginMessage* message) {
          return guarded(message, [&] { *device = reinterpret_cast<PluginDevice*>(new Device(index)); });
        },
    .close = [](PluginDevice* device) { delete &own(device); },
    .memory =
        [](PluginDevice* device, device::DeviceMemory* facts, PluginMessage* message) {
          return guarded(message, [&] { *facts = own(device).memory(); });
        },
    .counters =
        [](PluginDevice* device, device::DeviceCounters* counters, PluginMessage* message) {
          return guarded(message, [&] { *counters = own(device).counters(); });
        },
    .allocate =
        [](PluginDevice* device, size_t bytes, void** memory, PluginMessage* message) {
          return guarded(message, [&] { *memory = own(device).allocate(bytes); });
        },
    .free = [](PluginDevice* device, void* memory) { own(device).free(memory); },
    .allocate_host =
        [](PluginDevice* device, size_t bytes, void** memory, PluginMessage* message) {
          return guarded(message, [&] { *memory = own(device).allocate_host(bytes); });
        },
    .free_host = [](PluginDevice* device, void* memory) { own(device).free_host(memory); },
    .fill =
        [](PluginDevice* device, void* to, uint8_t value, size_t bytes, PluginMessage* message) {
          return guarded(message, [&] { own(device).fill(to, value, bytes); });
        },
    .copy_in =
        [](PluginDevice* device, void* to, const void* host, size_t bytes, PluginMessage* message) {
          return copy(device, to, host, bytes, cudaMemcpyHostToDevice, message);
        },
    .copy_out =
        [](PluginDevice* device, void* host, const void* from, size_t bytes, PluginMessage* message) {
          return copy(device, host, from, bytes, cudaMemcpyDeviceToHost, message);
        },
    .copy_within =
        [](PluginDevice* device, void* to, const void* from, size_t bytes, PluginMessage* message) {
          return copy(device, to, from, bytes, cudaMemcpyDeviceToDevice, message);
        },
    .upload =
        [](PluginDevice* device, void* to, const void* host, size_t bytes, PluginMessage* message) {
          return guarded(message, [&] { own(device).upload(to, host, bytes); });
        },
    .finish_uploads =
        [](PluginDevice* device, PluginMessage* message) { return guarded(message, [&] { own(device).finish_uploads(); }); },
    .run =
        [](PluginDevice* device, const device::StepRecord* step, PluginMessage* message) {
          return guarded(message, [&] { own(device).run(*step); });
        },
};

}  // namespace
}  // namespace lowrank::cuda

extern "C" __attribute__((visibility("default"))) const lowrank::device::PluginTable* lowrank_cuda_plugin() {
  return &lowrank::cuda::kTable;
}
