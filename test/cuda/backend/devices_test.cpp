#include "backend/devices.h"

#include <string>

#include "check.h"
#include "device_under_test.h"
#include "emulated_settings.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string only_reason() {
  const std::vector<CudaDevice> devices = cuda_devices(plugin_under_test());
  CHECK_EQ(devices.size(), size_t{1});
  return devices.front().unavailable;
}

void expect_unavailable(const std::string& device, const std::string& reason) {
  try {
    select_backend(device, plugin_under_test());
    CHECK(!"refused");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kBackendUnavailable);
    CHECK(contains(error.what(), "for device \"" + device + "\""));
    CHECK(contains(error.what(), reason));
  }
}

}  // namespace

TEST("backend/devices: a device that can be used") {
  const std::vector<CudaDevice> devices = cuda_devices(plugin_under_test());
  CHECK(!devices.empty());
  const CudaDevice& first = devices.front();
  CHECK_EQ(first.index, 0);
  CHECK_EQ(first.unavailable, std::string());
  CHECK(!first.name.empty());
  CHECK(first.memory_bytes > 0);
  CHECK(first.compute_major >= 8);
  CHECK_EQ(first.emulated, emulated());
  CHECK_EQ(contains(first.name, "EMULATED"), emulated());
}

TEST("backend/devices: names select backends") {
  const std::string plugin = plugin_under_test();
  CHECK(select_backend("cpu", plugin).backend == &cpu_backend());
  CHECK_EQ(select_backend("cpu", plugin).cuda_index, -1);
  for (const char* name : {"cuda", "cuda:0"}) {
    const SelectedBackend selected = select_backend(name, plugin);
    CHECK(selected.backend == &cuda_backend(plugin, 0));
    CHECK_EQ(selected.cuda_index, 0);
    CHECK(selected.fallback.empty());
  }
  // "auto" takes no emulated device.
  const SelectedBackend automatic = select_backend("auto", plugin);
  CHECK(automatic.backend == (emulated() ? &cpu_backend() : &cuda_backend(plugin, 0)));
  CHECK_EQ(contains(automatic.fallback, "EMULATED"), emulated());
  CHECK_EQ(std::string(cuda_backend(plugin, 0).name()), std::string("cuda"));
  CHECK(cuda_devices(plugin).front().free_bytes > 0);
  for (const char* name : {"", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999999999"})
    CHECK_THROWS_CODE(select_backend(name, plugin), ErrorCode::kInvalidArgument);
  expect_unavailable("cuda:7", "there is no CUDA device 7");
}

TEST("backend/devices: without a plugin the CPU is taken, and the reason is told") {
  const std::string plugin = "/nowhere/liblowrank_cuda.so";
  const std::vector<CudaDevice> devices = cuda_devices(plugin);
  if (plugin_under_test() != LOWRANK_EMULATED_PLUGIN) return;  // LOWRANK_CUDA_PLUGIN names another one
  CHECK_EQ(devices.size(), size_t{1});
  CHECK_EQ(devices.front().index, -1);
  CHECK(contains(devices.front().unavailable, "does not load"));
  const SelectedBackend selected = select_backend("auto", plugin);
  CHECK(selected.backend == &cpu_backend());
  CHECK(contains(selected.fallback, "does not load"));
  CHECK_THROWS_CODE(select_backend("cuda", plugin), ErrorCode::kBackendUnavailable);
}

TEST("backend/devices: no device, an old driver, an old device") {
  if (!emulated()) return;
  {
    EmulatedSettings setting;
    setting->devices = 0;
    CHECK(contains(only_reason(), "finds no CUDA device"));
    expect_unavailable("cuda", "finds no CUDA device");
    CHECK(select_backend("auto", plugin_under_test()).backend == &cpu_backend());
  }
  {
    EmulatedSettings setting;
    setting->driver_version = 11040;
    CHECK(contains(only_reason(), "driver is too old: it supports CUDA 11.4"));
    expect_unavailable("cuda", "driver is too old");
  }
  {
    EmulatedSettings setting;
    setting->capability = 75;
    const CudaDevice old = cuda_devices(plugin_under_test()).front();
    CHECK_EQ(old.index, 0);
    CHECK(contains(old.unavailable, "compute capability 7.5"));
    expect_unavailable("cuda", "compute capability 7.5");
  }
  CHECK(only_reason().empty());
}

TEST("backend/devices: several devices") {
  if (!emulated()) return;
  EmulatedSettings setting;
  setting->devices = 2;
  const std::vector<CudaDevice> devices = cuda_devices(plugin_under_test());
  CHECK_EQ(devices.size(), size_t{2});
  CHECK_EQ(devices.back().index, 1);
}
