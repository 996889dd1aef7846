#include "cuda/status.h"

#include <algorithm>
#include <cstring>

namespace lowrank::cuda {

void say(device::PluginMessage* message, const std::string& text) {
  const size_t count = std::min(text.size(), sizeof message->text - 1);
  std::memcpy(message->text, text.data(), count);
  message->text[count] = '\0';
}

void check(cudaError_t error, const std::string& doing) {
  if (error == cudaSuccess) return;
  const std::string text = std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) + ")";
  cudaGetLastError();  // an error that does not last is taken back
  if (error == cudaErrorMemoryAllocation)
    throw Failure{device::Status::kOutOfMemory, "Expected memory for " + doing + ", the CUDA device refused: " + text + "."};
  // One that lasts is given again by whatever comes next.
  if (cudaDeviceSynchronize() == cudaSuccess)
    throw Failure{device::Status::kFailed, "Expected success for " + doing + ", received " + text + "."};
  throw Failure{device::Status::kLost, "Expected a working CUDA device for " + doing + ", received " + text +
                                           ". This process cannot use the device any more: start it again."};
}

}  // namespace lowrank::cuda
