// The first GPU of this machine, as much of it as the self-test needs. Every failure of CUDA is an Error.
#pragma once

#include <cstddef>
#include <string>

#include "cuda/launches.h"

namespace lowrank::selftest {

// Throws Error(kInternal) for a status that is not success.
void check(cudaError_t status, const char* what);

// Zeroed memory of the device.
class DeviceBlock {
 public:
  explicit DeviceBlock(size_t bytes);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  void write(const void* host, size_t bytes) const;
  void read(void* host, size_t bytes) const;

 private:
  void* data_ = nullptr;
};

class Device {
 public:
  // Throws Error(kBackendUnavailable) with why there is none.
  Device();
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  int capability() const { return capability_; }  // 90: compute capability 9.0
  const cuda::DeviceFacts& facts() const { return facts_; }

  void run(const cuda::Launches& launches) const;
  // Seconds between begin and end of the launches as one CUDA graph, by the device's clock.
  double seconds(const cuda::Launches& launches) const;

 private:
  void launch(const cuda::Launches& launches) const;

  std::string name_;
  int capability_ = 0;
  cuda::DeviceFacts facts_{};
  cudaStream_t stream_ = nullptr;
};

}  // namespace lowrank::selftest
