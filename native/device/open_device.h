// An open device of a plugin, with the plugin's statuses as Errors: kOutOfMemory; kBackendUnavailable where the device is lost;
// kInternal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "device/plugin.h"

namespace lowrank::device {

// Throws where the status is not kOk.
void check_status(Status status, const PluginMessage& message);

class OpenDevice : public std::enable_shared_from_this<OpenDevice> {
 public:
  OpenDevice(const PluginTable& plugin, int32_t index);
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  const PluginTable& plugin() const { return plugin_; }
  const DeviceDescription& description() const { return description_; }
  DeviceMemory memory() const;
  DeviceCounters counters() const;

  // Cleared memory of the device, and memory of the host that it reads and writes at full speed. Freed with the last handle.
  BackendMemory allocate(size_t bytes);
  BackendMemory allocate_uncleared(size_t bytes);
  BackendMemory allocate_host(size_t bytes);

  void copy_in(void* to, const void* host, size_t bytes) const;
  void copy_out(void* host, const void* from, size_t bytes) const;
  void copy_within(void* to, const void* from, size_t bytes) const;
  void upload(void* to, const void* host, size_t bytes) const;
  void finish_uploads() const;
  void run(const StepRecord& step) const;

 private:
  const PluginTable& plugin_;
  DeviceDescription description_{};
  PluginDevice* device_ = nullptr;
};

}  // namespace lowrank::device
