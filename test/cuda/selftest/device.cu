#include "selftest/device.h"

#include "core/error.h"
#if !defined(__CUDACC__)
#include "emulator/emulator.h"
#endif

namespace lowrank::selftest {
namespace {

constexpr int kMinCapability = 80;
constexpr size_t kPlainSharedBytes = size_t{48} << 10;  // more must be opted into

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw Error(ErrorCode::kInternal, std::string("Expected ") + what + " to succeed, received " + cudaGetErrorString(status) + ".");
}

DeviceBlock::DeviceBlock(size_t bytes) {
  check(cudaMalloc(&data_, bytes), "cudaMalloc");
  check(cudaMemset(data_, 0, bytes), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaMemset");
}
DeviceBlock::~DeviceBlock() { cudaFree(data_); }

void DeviceBlock::write(const void* host, size_t bytes) const {
  check(cudaMemcpy(data_, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}
void DeviceBlock::read(void* host, size_t bytes) const {
  check(cudaMemcpy(host, data_, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
}

Device::Device() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0)
    throw Error(ErrorCode::kBackendUnavailable,
                std::string("Expected a GPU, there is none: ") + (status == cudaSuccess ? "no device" : cudaGetErrorString(status)));
  check(cudaSetDevice(0), "cudaSetDevice");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  name_ = properties.name;
  capability_ = 10 * properties.major + properties.minor;
  if (capability_ < kMinCapability)
    throw Error(ErrorCode::kBackendUnavailable, "Expected compute capability 8.0 or later, " + name_ + " has " +
                                                    std::to_string(properties.major) + "." + std::to_string(properties.minor));
  facts_ = {properties.multiProcessorCount, static_cast<int32_t>(properties.sharedMemPerBlockOptin)};
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}
Device::~Device() { cudaStreamDestroy(stream_); }

void Device::launch(const cuda::Launches& launches) const {
  for (const cuda::Launches::Launch& one : launches.all()) {
    if (one.shared_bytes > kPlainSharedBytes)
      check(cudaFuncSetAttribute(one.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(one.shared_bytes)),
            "cudaFuncSetAttribute");
#if defined(__CUDACC__)
    void* params[] = {const_cast<void*>(launches.params_of(one))};
    check(cudaLaunchKernel(one.kernel, one.grid, one.block, params, one.shared_bytes, stream_), "cudaLaunchKernel");
#else
    check(emulator::launch(one.kernel, one.call, one.grid, one.block, launches.params_of(one), one.params_bytes, one.shared_bytes,
                           stream_),
          "the launch");
#endif
  }
}

void Device::run(const cuda::Launches& launches) const {
  launch(launches);
  check(cudaStreamSynchronize(stream_), "a kernel");
}

double Device::seconds(const cuda::Launches& launches) const {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  launch(launches);
  check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  check(cudaEventRecord(begin, stream_), "cudaEventRecord");
  check(cudaGraphLaunch(executable, stream_), "cudaGraphLaunch");
  check(cudaEventRecord(end, stream_), "cudaEventRecord");
  check(cudaStreamSynchronize(stream_), "a kernel");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  return milliseconds / 1e3;
}

}  // namespace lowrank::selftest
