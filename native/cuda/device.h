// An open CUDA device: its memory, its streams, and the steps that run on it.
#pragma once

#include <mutex>
#include <string>
#include <unordered_set>

#include "cuda/arena.h"
#include "cuda/graph_cache.h"
#include "cuda/launches.h"
#include "device/plugin.h"

namespace lowrank::cuda {

// Functions throw Failure. Any thread may call any of them.
class Device {
 public:
  explicit Device(int32_t index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void* allocate(size_t bytes);
  void free(void* memory) noexcept;
  void* allocate_host(size_t bytes);
  void free_host(void* memory) noexcept;

  void fill(void* to, uint8_t value, size_t bytes);
  void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
  void upload(void* to, const void* host, size_t bytes);
  void finish_uploads();
  void run(const device::StepRecord& step);

  device::DeviceMemory memory();
  device::DeviceCounters counters();

 private:
  // A stream, and the event that one waits for without keeping a processor busy.
  struct Lane {
    std::mutex mutex;
    cudaStream_t stream = nullptr;
    cudaEvent_t done = nullptr;
    Lane();
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    void wait();
  };
  void use();
  template <class Body>
  void watched(Body body);

  const int32_t index_;
  std::mutex lost_mutex_;
  std::string lost_;  // why; empty: it is not
  const DeviceFacts facts_;
  Lane steps_, copies_, uploads_;
  GraphCache graphs_;
  uint64_t steps_run_ = 0;
  Arena arena_;
};

}  // namespace lowrank::cuda
