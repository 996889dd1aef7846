// Kernels of the emulator's own tests, launched and waited for.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/launches.h"
#include "cuda/ptx.h"
#include "emulator/emulator.h"

namespace lowrank::test {

// Memory of the device that holds values of the host.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : count_(values.size()) {
    CHECK_EQ(cudaMalloc(&data_, count_ * sizeof(T)), cudaSuccess);
    CHECK_EQ(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  explicit DeviceArray(size_t count, T value = {}) : DeviceArray(std::vector<T>(count, value)) {}
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    CHECK_EQ(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

template <class Params>
cudaError_t start_kernel(void (*kernel)(Params), dim3 grid, dim3 block, const Params& params, size_t shared_bytes = 0,
                         cudaStream_t stream = nullptr) {
  cuda::Launches launches({8, 99 << 10});
  launches.add(kernel, grid, block, shared_bytes, params);
  const auto& one = launches.all().front();
  return emulator::launch(one.kernel, one.call, grid, block, launches.params_of(one), one.params_bytes, shared_bytes, stream);
}
template <class Params>
cudaError_t run_kernel(void (*kernel)(Params), dim3 grid, dim3 block, const Params& params, size_t shared_bytes = 0) {
  const cudaError_t error = start_kernel(kernel, grid, block, params, shared_bytes);
  return error != cudaSuccess ? error : cudaDeviceSynchronize();
}

// Sets the emulated device up for one test, and back after it.
class WithSettings {
 public:
  explicit WithSettings(const emulator::Settings& settings) : before_(emulator::settings()) {
    emulator::settings() = settings;
  }
  ~WithSettings() {
    cudaDeviceSynchronize();
    emulator::settings() = before_;
  }
  WithSettings(const WithSettings&) = delete;
  WithSettings& operator=(const WithSettings&) = delete;

 private:
  emulator::Settings before_;
};

// Runs `body` in every order of threads, with lazy and with eager copies.
template <class Body>
void for_every_order(Body body) {
  for (const emulator::Order order : {emulator::Order::kAscending, emulator::Order::kDescending, emulator::Order::kShuffled})
    for (const bool lazy : {true, false}) {
      emulator::Settings settings = emulator::settings();
      settings.order = order;
      settings.lazy_copies = lazy;
      const WithSettings with(settings);
      body();
    }
}

}  // namespace lowrank::test
