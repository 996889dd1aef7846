#include "cuda/probe.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "cuda/cuda.h"
#include "cuda/status.h"

#if defined(__CUDACC__)
#include <dlfcn.h>
#endif

namespace lowrank::cuda {
namespace {

// The kernels need cp.async and the int8 products of tensor cores, of this compute capability and above.
constexpr int kMinMajor = 8;

[[noreturn]] void unavailable(const std::string& text) { throw Failure{device::Status::kUnavailable, text}; }

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// The driver's library is the system's: it is looked for, never linked.
void check_driver_library() {
#if defined(__CUDACC__)
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) == nullptr) {
    const char* error = dlerror();
    unavailable(std::string("no NVIDIA driver: ") + (error != nullptr ? error : "libcuda.so.1 does not load"));
  }
#endif
}

void check_driver_version() {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "the version of the NVIDIA driver");
  check(cudaRuntimeGetVersion(&runtime), "the version of the CUDA runtime");
  // A driver serves every runtime of its major version.
  if (driver / 1000 < runtime / 1000)
    unavailable("the NVIDIA driver is too old: it supports CUDA " + version_text(driver) + ", and the plugin needs " +
                std::to_string(runtime / 1000) + ".0 or newer");
}

void copy_text(char* to, size_t capacity, const std::string& text) {
  const size_t count = std::min(text.size(), capacity - 1);
  std::memcpy(to, text.data(), count);
  to[count] = '\0';
}

}  // namespace

int32_t device_count() {
  check_driver_library();
  check_driver_version();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    cudaGetLastError();
    unavailable("the NVIDIA driver finds no CUDA device");
  }
  if (error != cudaSuccess) {
    const std::string text = cudaGetErrorString(error);
    cudaGetLastError();
    unavailable("the NVIDIA driver does not start: " + text);
  }
  return count;
}

device::DeviceDescription describe_device(int32_t index) {
  const int32_t count = device_count();
  if (index < 0 || index >= count)
    unavailable("there is no CUDA device " + std::to_string(index) + ": there " + (count == 1 ? "is " : "are ") +
                std::to_string(count) + ", counted from 0");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "the properties of CUDA device " + std::to_string(index));
  device::DeviceDescription description{};
  properties.name[sizeof properties.name - 1] = '\0';
  copy_text(description.name, sizeof description.name, properties.name);
  description.memory_bytes = properties.totalGlobalMem;
  description.compute_major = properties.major;
  description.compute_minor = properties.minor;
  description.multiprocessors = properties.multiProcessorCount;
  description.usable = properties.major >= kMinMajor ? 1 : 0;
  if (description.usable == 0)
    copy_text(description.reason, sizeof description.reason,
              std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
                  std::to_string(properties.minor) + ", and the kernels need " + std::to_string(kMinMajor) + ".0 or newer");
  return description;
}

}  // namespace lowrank::cuda
