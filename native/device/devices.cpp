#include "backend/devices.h"

#include <charconv>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "device/device_backend.h"
#include "device/ops.h"
#include "device/plugin_loader.h"

namespace lowrank {
namespace {

using device::DeviceBackend;

// Those that are in use; never destroyed, as threads may outlive main.
struct Opened {
  std::mutex mutex;
  std::map<std::pair<const device::PluginTable*, int32_t>, const DeviceBackend*> backends;
  static Opened& process() {
    static Opened& opened = *new Opened;
    return opened;
  }
};

// Throws Error(kBackendUnavailable).
const device::PluginTable& find_plugin(const std::string& found) {
  std::string why;
  const std::string path = device::plugin_path(found, why);
  if (path.empty()) throw Error(ErrorCode::kBackendUnavailable, why);
  return device::load_plugin(path);
}

int32_t count_devices(const device::PluginTable& plugin) {
  device::PluginMessage message{};
  int32_t count = 0;
  device::check_status(plugin.probe(&count, &message), message);
  return count;
}

CudaDevice describe(const device::PluginTable& plugin, int32_t index) {
  CudaDevice one;
  one.index = index;
  one.emulated = std::string(plugin.kind) != "cuda";
  device::PluginMessage message{};
  device::DeviceDescription facts{};
  if (plugin.describe(index, &facts, &message) != device::Status::kOk) {
    one.unavailable = message.text;
    return one;
  }
  one.name = facts.name;
  one.memory_bytes = facts.memory_bytes;
  one.compute_major = facts.compute_major;
  one.compute_minor = facts.compute_minor;
  one.unavailable = facts.reason;
  Opened& opened = Opened::process();
  const std::lock_guard<std::mutex> lock(opened.mutex);
  const auto backend = opened.backends.find({&plugin, index});
  if (backend == opened.backends.end()) return one;
  try {
    one.free_bytes = backend->second->device().memory().free_bytes;
  } catch (const Error& error) {
    one.unavailable = error.what();  // it is lost
  }
  return one;
}

const DeviceBackend& open(const device::PluginTable& plugin, int32_t index) {
  Opened& opened = Opened::process();
  const std::lock_guard<std::mutex> lock(opened.mutex);
  const DeviceBackend*& backend = opened.backends[{&plugin, index}];
  if (backend == nullptr) backend = new DeviceBackend(plugin, index, device::device_ops());
  return *backend;
}

[[noreturn]] void refuse(const std::string& device, const std::string& why) {
  throw Error(ErrorCode::kBackendUnavailable, "Expected a usable CUDA device for device \"" + device +
                                                  "\", received none: " + why +
                                                  ". Device \"auto\" takes the CPU in its place.");
}

// The first CUDA device that can be used, or a backend of null and why there is none.
SelectedBackend first_usable(const std::string& plugin, bool emulated_too) {
  std::string why;
  for (const CudaDevice& one : cuda_devices(plugin)) {
    std::string reason = one.unavailable;
    if (reason.empty() && one.emulated && !emulated_too) reason = one.name + " serves only who asks for \"cuda\"";
    if (reason.empty()) {
      try {
        return {&cuda_backend(plugin, one.index), one.index, ""};
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kBackendUnavailable && error.code() != ErrorCode::kOutOfMemory) throw;
        reason = error.what();
      }
    }
    why += (why.empty() ? "" : "; ") + reason;
  }
  return {nullptr, -1, why};
}

}  // namespace

std::vector<CudaDevice> cuda_devices(const std::string& plugin) {
  try {
    const device::PluginTable& table = find_plugin(plugin);
    std::vector<CudaDevice> devices;
    for (int32_t i = 0, count = count_devices(table); i < count; ++i) devices.push_back(describe(table, i));
    return devices;
  } catch (const Error& error) {
    CudaDevice none;
    none.unavailable = error.what();
    return {none};
  }
}

const Backend& cuda_backend(const std::string& plugin, int32_t index) {
  try {
    return open(find_plugin(plugin), index);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBackendUnavailable) throw;
    refuse("cuda:" + std::to_string(index), error.what());
  }
}

void set_adapter_memory(const Backend& cuda_backend, size_t bytes) {
  static_cast<const DeviceBackend&>(cuda_backend).factors().set_budget(bytes);
}

SelectedBackend select_backend(const std::string& device, const std::string& plugin) {
  if (device == "cpu") return {&cpu_backend(), -1, ""};
  if (device == "auto" || device == "cuda") {
    const SelectedBackend found = first_usable(plugin, device == "cuda");
    if (found.backend != nullptr) return found;
    if (device == "cuda") refuse(device, found.fallback);
    return {&cpu_backend(), -1, found.fallback};
  }
  const std::string head = "cuda:";
  int32_t index = -1;
  if (device.starts_with(head)) {
    const char* end = device.data() + device.size();
    const auto [rest, error] = std::from_chars(device.data() + head.size(), end, index);
    if (error == std::errc() && rest == end && index >= 0) return {&cuda_backend(plugin, index), index, ""};
  }
  throw Error(ErrorCode::kInvalidArgument,
              "Expected \"auto\", \"cpu\", \"cuda\" or \"cuda:<number>\" for a device, received \"" + device + "\".");
}

}  // namespace lowrank
