// Kernels on their way to a stream.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "emulator/block.h"
#include "emulator/device_memory.h"
#include "emulator/streams.h"

namespace lowrank::emulator {

// A launch with its own copy of the parameters.
struct KernelLaunch {
  LaunchRequest request;
  std::vector<uint64_t> params;
};

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

constexpr size_t kSharedWithoutOptingIn = 48 << 10;
constexpr size_t kPage = 4096;

// What kernels have opted into: dynamic shared memory by kernel.
std::map<const void*, size_t>& opted_into() {
  static auto* const limits = new std::map<const void*, size_t>;
  return *limits;
}

std::string text_of(dim3 size) {
  char text[48];
  std::snprintf(text, sizeof text, "(%u, %u, %u)", size.x, size.y, size.z);
  return text;
}

// A word of the parameters that is an address where this process has memory, and the device has none. Programs, heaps and
// mapped files lie high up; below there are two small integers side by side, and the shadow of a sanitizer that they may seem
// to point to. A small integer in the lower half is taken for one of two integers, too.
bool is_host_pointer(uint64_t word) {
  constexpr uint64_t kLowest = uint64_t{0x5000} << 32;
  constexpr uint32_t kSmall = 1 << 20;
  if (word < kLowest || word >> 48 != 0 || static_cast<uint32_t>(word) < kSmall) return false;
  void* const address = reinterpret_cast<void*>(word);
  if (device_memory().is_device(address)) return false;
  unsigned char in_core = 0;
  return mincore(reinterpret_cast<void*>(word / kPage * kPage), kPage, &in_core) == 0;
}

// What is wrong with a launch; cudaSuccess: nothing.
cudaError_t check_launch(const KernelLaunch& launch, size_t dynamic_limit) {
  const auto& [kernel, call, grid, block, shared_bytes, shared_limit, params] = launch.request;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64) {
    return refuse(cudaErrorInvalidConfiguration, "Expected 1 to 1024 threads for a block, received " + text_of(block) + ".");
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    return refuse(cudaErrorInvalidConfiguration,
                  "Expected 1 to 2147483647, 65535 and 65535 blocks for a grid, received " + text_of(grid) + ".");
  }
  if (shared_bytes > dynamic_limit)
    return refuse(cudaErrorInvalidValue, "Expected at most " + std::to_string(dynamic_limit) +
                                             " bytes of dynamic shared memory for this kernel, received " +
                                             std::to_string(shared_bytes) + "; more than 48 KiB have to be opted into.");
  for (size_t i = 0; i < launch.params.size(); ++i)
    if (is_host_pointer(launch.params[i]))
      return refuse(cudaErrorInvalidValue, "Expected device pointers in a kernel's parameters, received a host pointer at byte " +
                                               std::to_string(8 * i) + ".");
  return cudaSuccess;
}

void run_launch(const KernelLaunch& launch) {
  int& fault = settings().fault_at_launch;
  if (fault > 0 && --fault == 0) throw Misuse{cudaErrorIllegalAddress, "a fault that the settings asked for"};
  run_grid(launch.request);
}

}  // namespace

cudaError_t launch(const void* kernel, void (*call)(const void* kernel, const void* params), dim3 grid, dim3 block,
                   const void* params, size_t params_bytes, size_t shared_bytes, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  auto launch = std::make_shared<KernelLaunch>();
  launch->params.resize((params_bytes + 7) / 8);
  std::memcpy(launch->params.data(), params, params_bytes);
  const auto found = opted_into().find(kernel);
  const size_t dynamic_limit = found == opted_into().end() ? kSharedWithoutOptingIn : found->second;
  // Static and dynamic memory together: 48 KiB, but for a kernel that has opted into more.
  const size_t limit = dynamic_limit > kSharedWithoutOptingIn ? settings().shared_bytes_opt_in : kSharedWithoutOptingIn;
  launch->request = {kernel, call, grid, block, shared_bytes, limit, launch->params.data()};
  const cudaError_t error = check_launch(*launch, dynamic_limit);
  if (error != cudaSuccess) return error;
  return submit(stream, [launch = std::move(launch)] { run_launch(*launch); });
}

}  // namespace lowrank::emulator

using namespace lowrank::emulator;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const Lock lock(runtime_mutex());
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > settings().shared_bytes_opt_in)
    return refuse(cudaErrorInvalidValue, "Expected at most " + std::to_string(settings().shared_bytes_opt_in) +
                                             " bytes of shared memory to opt into, received " + std::to_string(value) + ".");
  opted_into()[kernel] = std::max(kSharedWithoutOptingIn, static_cast<size_t>(value));
  return cudaSuccess;
}
