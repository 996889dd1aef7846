// What tests of kernels share that run them as an op would, on devices of their own choice: memory, random numbers, a launch.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/launches.h"
#include "emulator/emulator.h"

namespace lowrank::test {

// Blocks of device memory, which live as long as this.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() {
    for (void* block : blocks_) cudaFree(block);
  }
  template <class T>
  T* put(const std::vector<T>& values) {
    void* block = nullptr;
    CHECK_EQ(cudaMalloc(&block, values.size() * sizeof(T)), cudaSuccess);
    blocks_.push_back(block);
    CHECK_EQ(cudaMemcpy(block, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    return static_cast<T*>(block);
  }

 private:
  std::vector<void*> blocks_;
};

// The same numbers everywhere.
class Random {
 public:
  explicit Random(size_t seed) : engine_(static_cast<uint32_t>(seed)) {}
  float uniform(float low, float high) { return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f; }
  int32_t integer(int32_t low, int32_t high) {
    return low + static_cast<int32_t>(engine_() % static_cast<uint32_t>(high - low + 1));
  }
  std::vector<float> floats(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& value : values) value = uniform(low, high);
    return values;
  }

 private:
  std::mt19937 engine_;
};

inline void expect_same_bits(const std::string& what, const std::vector<float>& y, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (std::memcmp(&y[i], &expected[i], sizeof(float)) != 0)
      return fail(__FILE__, __LINE__, what + " [" + std::to_string(i) + "]: " + shown(y[i]) + " against " + shown(expected[i]));
}

inline void run(const cuda::Launches& launches) {
  for (const cuda::Launches::Launch& one : launches.all()) {
    cudaFuncSetAttribute(one.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(one.shared_bytes));
    CHECK_EQ(emulator::launch(one.kernel, one.call, one.grid, one.block, launches.params_of(one), one.params_bytes,
                              one.shared_bytes, nullptr),
             cudaSuccess);
  }
  CHECK_EQ(cudaDeviceSynchronize(), cudaSuccess);
  CHECK_EQ(emulator::misuse(), std::string());
}

}  // namespace lowrank::test
