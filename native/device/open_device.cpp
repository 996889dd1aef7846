#include "device/open_device.h"

#include "core/error.h"

namespace lowrank::device {
namespace {

template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
  PluginMessage message{};
  check_status(function(arguments..., &message), message);
}

ErrorCode code_of(Status status) {
  switch (status) {
    case Status::kOutOfMemory: return ErrorCode::kOutOfMemory;
    case Status::kUnavailable:
    case Status::kLost: return ErrorCode::kBackendUnavailable;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

void check_status(Status status, const PluginMessage& message) {
  if (status != Status::kOk) throw Error(code_of(status), message.text);
}

OpenDevice::OpenDevice(const PluginTable& plugin, int32_t index) : plugin_(plugin) {
  call(plugin_.describe, index, &description_);
  if (description_.usable == 0) throw Error(ErrorCode::kBackendUnavailable, description_.reason);
  call(plugin_.open, index, &device_);
}

OpenDevice::~OpenDevice() {
  if (device_ != nullptr) plugin_.close(device_);
}

DeviceMemory OpenDevice::memory() const {
  DeviceMemory facts{};
  call(plugin_.memory, device_, &facts);
  return facts;
}

DeviceCounters OpenDevice::counters() const {
  DeviceCounters counters{};
  call(plugin_.counters, device_, &counters);
  return counters;
}

BackendMemory OpenDevice::allocate(size_t bytes) {
  BackendMemory memory = allocate_uncleared(bytes);
  if (bytes != 0) call(plugin_.fill, device_, memory.as<void>(), uint8_t{0}, bytes);
  return memory;
}

BackendMemory OpenDevice::allocate_uncleared(size_t bytes) {
  if (bytes == 0) return {};
  void* memory = nullptr;
  call(plugin_.allocate, device_, bytes, &memory);
  const auto free = [device = shared_from_this()](void* freed) { device->plugin_.free(device->device_, freed); };
  return {std::shared_ptr<void>(memory, free), bytes};
}

BackendMemory OpenDevice::allocate_host(size_t bytes) {
  if (bytes == 0) return {};
  void* memory = nullptr;
  call(plugin_.allocate_host, device_, bytes, &memory);
  const auto free = [device = shared_from_this()](void* freed) { device->plugin_.free_host(device->device_, freed); };
  return {std::shared_ptr<void>(memory, free), bytes};
}

void OpenDevice::copy_in(void* to, const void* host, size_t bytes) const {
  if (bytes != 0) call(plugin_.copy_in, device_, to, host, bytes);
}
void OpenDevice::copy_out(void* host, const void* from, size_t bytes) const {
  if (bytes != 0) call(plugin_.copy_out, device_, host, from, bytes);
}
void OpenDevice::copy_within(void* to, const void* from, size_t bytes) const {
  if (bytes != 0) call(plugin_.copy_within, device_, to, from, bytes);
}
void OpenDevice::upload(void* to, const void* host, size_t bytes) const {
  if (bytes != 0) call(plugin_.upload, device_, to, host, bytes);
}
void OpenDevice::finish_uploads() const { call(plugin_.finish_uploads, device_); }
void OpenDevice::run(const StepRecord& step) const { call(plugin_.run, device_, &step); }

}  // namespace lowrank::device
