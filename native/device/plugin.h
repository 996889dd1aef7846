// The interface between the addon and a device plugin, a shared library that one C entry opens:
//   extern "C" const lowrank::device::PluginTable* lowrank_cuda_plugin();
//
// It is plain data and functions, one layout for both compilers. Nothing throws across it: each call gives a status and, where
// that is not kOk, a sentence. Functions may be called from any thread, but a device runs one step at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/op_code.h"

namespace lowrank::device {

// Raised with each change of this file, of op_code.h or of the parameters of an op.
inline constexpr uint32_t kPluginVersion = 2;
inline constexpr const char* kPluginEntry = "lowrank_cuda_plugin";

enum class Status : int32_t {
  kOk,
  kInvalidArgument,  // the addon asked for what makes no sense
  kOutOfMemory,
  kUnavailable,  // no driver, no device, one that is too old
  kLost,         // the device failed, and gives nothing any more to this process
  kFailed,
};

struct PluginMessage {
  char text[1024];  // ends with 0
};

struct DeviceDescription {
  char name[256];
  uint64_t memory_bytes;
  int32_t compute_major;
  int32_t compute_minor;
  int32_t multiprocessors;
  int32_t usable;     // 0: `reason` says why not
  char reason[512];
};

struct DeviceMemory {
  uint64_t total_bytes;
  uint64_t free_bytes;      // as the driver counts, for all processes
  uint64_t reserved_bytes;  // taken from the driver for this device
  uint64_t used_bytes;      // of these, handed out
};

struct DeviceCounters {
  uint64_t steps;
  uint64_t kernels;         // launched one at a time
  uint64_t graphs_built;
  uint64_t graphs_launched;
};

struct OpRecord {
  OpCode code;
  uint32_t params_bytes;
  const void* params;  // device/params/<op>.h
};

struct HostCopy {
  void* host;  // of allocate_host
  void* device;
  size_t bytes;
};

// Copies in, ops and copies out follow each other; `run` returns when all is done. A step whose launches are those of an
// earlier one, parameters included, is one CUDA graph.
struct StepRecord {
  const HostCopy* copies_in;
  size_t copies_in_count;
  const OpRecord* ops;
  size_t op_count;
  const HostCopy* copies_out;
  size_t copies_out_count;
  int32_t after_uploads;  // 1: the ops wait for all that `upload` was asked for before
};

struct PluginDevice;  // an open device

struct PluginTable {
  uint32_t version;  // kPluginVersion; what follows may differ where this does
  uint32_t table_bytes;
  const char* kind;         // "cuda" or "cuda-emulated"
  const char* description;  // "CUDA 13.0"
  const uint32_t* op_params_bytes;  // [kOpCodes]

  // How many devices there are, usable or not. kUnavailable where the driver is missing or too old, or there are none.
  Status (*probe)(int32_t* devices, PluginMessage* message);
  Status (*describe)(int32_t index, DeviceDescription* description, PluginMessage* message);

  Status (*open)(int32_t index, PluginDevice** device, PluginMessage* message);
  void (*close)(PluginDevice* device);
  Status (*memory)(PluginDevice* device, DeviceMemory* facts, PluginMessage* message);
  Status (*counters)(PluginDevice* device, DeviceCounters* counters, PluginMessage* message);

  // Memory of the device, aligned to 256 bytes, not cleared. Freeing takes null, too.
  Status (*allocate)(PluginDevice* device, size_t bytes, void** memory, PluginMessage* message);
  void (*free)(PluginDevice* device, void* memory);
  // Memory of the host that the device copies from and to at full speed.
  Status (*allocate_host)(PluginDevice* device, size_t bytes, void** memory, PluginMessage* message);
  void (*free_host)(PluginDevice* device, void* memory);

  // These return when they are done, and may run beside a step that does not touch the same memory.
  Status (*fill)(PluginDevice* device, void* to, uint8_t value, size_t bytes, PluginMessage* message);
  Status (*copy_in)(PluginDevice* device, void* to, const void* host, size_t bytes, PluginMessage* message);
  Status (*copy_out)(PluginDevice* device, void* host, const void* from, size_t bytes, PluginMessage* message);
  Status (*copy_within)(PluginDevice* device, void* to, const void* from, size_t bytes, PluginMessage* message);

  // Begins a copy on a stream of its own, beside whatever step runs. `host` must stay until `finish_uploads` or a step that
  // comes after uploads has returned.
  Status (*upload)(PluginDevice* device, void* to, const void* host, size_t bytes, PluginMessage* message);
  Status (*finish_uploads)(PluginDevice* device, PluginMessage* message);

  Status (*run)(PluginDevice* device, const StepRecord* step, PluginMessage* message);
};

}  // namespace lowrank::device
