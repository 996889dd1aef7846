#include "cuda/device.h"

#include "cuda/probe.h"
#include "cuda/status.h"

namespace lowrank::cuda {
namespace {

// Emulated, each piece is an allocation of its own: then what lies beyond its end is found.
#if defined(__CUDACC__)
constexpr size_t kArenaBlock = size_t{64} << 20;
#else
constexpr size_t kArenaBlock = 0;
#endif

// Makes the device the one of this thread, too, so that what is made next is made there.
DeviceFacts facts_of(int32_t index) {
  const device::DeviceDescription description = describe_device(index);
  if (description.usable == 0) throw Failure{device::Status::kUnavailable, description.reason};
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "the properties of a CUDA device");
  check(cudaSetDevice(index), "CUDA device " + std::to_string(index));
  return {properties.multiProcessorCount, static_cast<int32_t>(properties.sharedMemPerBlockOptin)};
}

std::string bytes_text(size_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

Device::Lane::Lane() {
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming | cudaEventBlockingSync), "an event");
}

Device::Lane::~Lane() {
  if (stream != nullptr) cudaStreamSynchronize(stream);
  if (done != nullptr) cudaEventDestroy(done);
  if (stream != nullptr) cudaStreamDestroy(stream);
}

void Device::Lane::wait() {
  check(cudaEventRecord(done, stream), "the end of work of the device");
  check(cudaEventSynchronize(done), "work of the device");
}

Device::Device(int32_t index)
    : index_(index),
      facts_(facts_of(index)),
      graphs_(facts_),
      arena_({[](size_t bytes) {
                void* memory = nullptr;
                check(cudaMalloc(&memory, bytes), bytes_text(bytes));
                return memory;
              },
              [](void* memory) { cudaFree(memory); }},
             kArenaBlock) {}

Device::~Device() { cudaSetDevice(index_); }

void Device::use() { check(cudaSetDevice(index_), "CUDA device " + std::to_string(index_)); }

// Runs `body` on this device, unless it is lost already; remembers when it is lost.
template <class Body>
void Device::watched(Body body) {
  {
    const std::lock_guard<std::mutex> lock(lost_mutex_);
    if (!lost_.empty()) throw Failure{device::Status::kLost, lost_};
  }
  try {
    use();
    body();
  } catch (const Failure& failure) {
    if (failure.status == device::Status::kLost) {
      const std::lock_guard<std::mutex> lock(lost_mutex_);
      if (lost_.empty()) lost_ = failure.text;
    }
    throw;
  }
}

void* Device::allocate(size_t bytes) {
  void* memory = nullptr;
  watched([&] { memory = arena_.take(bytes); });
  return memory;
}

void Device::free(void* memory) noexcept {
  if (memory == nullptr || cudaSetDevice(index_) != cudaSuccess) return;
  arena_.give_back(memory);
}

void* Device::allocate_host(size_t bytes) {
  void* memory = nullptr;
  watched([&] { check(cudaMallocHost(&memory, bytes), bytes_text(bytes) + " of the host's memory"); });
  return memory;
}

void Device::free_host(void* memory) noexcept {
  if (memory != nullptr && cudaSetDevice(index_) == cudaSuccess) cudaFreeHost(memory);
}

void Device::fill(void* to, uint8_t value, size_t bytes) {
  watched([&] {
    const std::lock_guard<std::mutex> lock(copies_.mutex);
    check(cudaMemsetAsync(to, value, bytes, copies_.stream), "filling " + bytes_text(bytes));
    copies_.wait();
  });
}

void Device::copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  watched([&] {
    const std::lock_guard<std::mutex> lock(copies_.mutex);
    check(cudaMemcpyAsync(to, from, bytes, kind, copies_.stream), "copying " + bytes_text(bytes));
    copies_.wait();
  });
}

void Device::upload(void* to, const void* host, size_t bytes) {
  watched([&] {
    const std::lock_guard<std::mutex> lock(uploads_.mutex);
    check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, uploads_.stream), "uploading " + bytes_text(bytes));
    check(cudaEventRecord(uploads_.done, uploads_.stream), "the end of an upload");
  });
}

void Device::finish_uploads() {
  watched([&] {
    const std::lock_guard<std::mutex> lock(uploads_.mutex);
    uploads_.wait();
  });
}

void Device::run(const device::StepRecord& step) {
  watched([&] {
    const std::lock_guard<std::mutex> lock(steps_.mutex);
    for (size_t i = 0; i < step.copies_in_count; ++i) {
      const device::HostCopy& one = step.copies_in[i];
      check(cudaMemcpyAsync(one.device, one.host, one.bytes, cudaMemcpyHostToDevice, steps_.stream), "what a step brings");
    }
    if (step.after_uploads != 0) {
      const std::lock_guard<std::mutex> uploads_lock(uploads_.mutex);
      check(cudaStreamWaitEvent(steps_.stream, uploads_.done, 0), "the end of uploads");
    }
    graphs_.launch(step, steps_.stream);
    for (size_t i = 0; i < step.copies_out_count; ++i) {
      const device::HostCopy& one = step.copies_out[i];
      check(cudaMemcpyAsync(one.host, one.device, one.bytes, cudaMemcpyDeviceToHost, steps_.stream), "what a step gives");
    }
    steps_.wait();
    ++steps_run_;
  });
}

device::DeviceMemory Device::memory() {
  size_t free = 0, total = 0;
  watched([&] { check(cudaMemGetInfo(&free, &total), "the device's memory"); });
  return {total, free, arena_.reserved_bytes(), arena_.used_bytes()};
}

device::DeviceCounters Device::counters() {
  const std::lock_guard<std::mutex> lock(steps_.mutex);
  return {steps_run_, graphs_.kernels(), graphs_.built(), graphs_.launched()};
}

}  // namespace lowrank::cuda
