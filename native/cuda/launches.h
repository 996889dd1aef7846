// The kernel launches of one step, in order. Each launch waits for the one before it (they go to one stream).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cuda/cuda.h"

namespace lowrank::cuda {

// Facts of the device that shape a launch.
struct DeviceFacts {
  int32_t multiprocessors;
  int32_t max_shared_bytes;  // of one block, with opting in
};

class Launches {
 public:
  explicit Launches(const DeviceFacts& device) : device_(device) {}

  const DeviceFacts& device() const { return device_; }

  // More than 48 KiB of shared memory is opted into where the step is launched.
  template <class Params>
  void add(void (*kernel)(Params), dim3 grid, dim3 block, size_t shared_bytes, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params>);
    Launch launch{reinterpret_cast<const void*>(kernel), nullptr, grid, block, shared_bytes, params_.size(), sizeof(Params)};
#if !defined(__CUDACC__)
    launch.call = [](const void* function, const void* bytes) {
      Params copy;
      std::memcpy(static_cast<void*>(&copy), bytes, sizeof copy);
      reinterpret_cast<void (*)(Params)>(const_cast<void*>(function))(copy);
    };
#endif
    constexpr size_t kAlignment = 16;
    static_assert(alignof(Params) <= kAlignment);
    params_.resize((params_.size() + sizeof(Params) + kAlignment - 1) / kAlignment * kAlignment);
    Params copy = params;
#if !defined(__CUDACC__) && defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&copy);  // the emulator looks for host pointers in these bytes
#endif
#endif
    std::memcpy(params_.data() + launch.params_at, &copy, sizeof copy);
    launches_.push_back(launch);
  }

  struct Launch {
    const void* kernel;
    void (*call)(const void* kernel, const void* params);  // one thread of it; the emulator's alone
    dim3 grid;
    dim3 block;
    size_t shared_bytes;
    size_t params_at;
    size_t params_bytes;
  };
  const std::vector<Launch>& all() const { return launches_; }
  const void* params_of(const Launch& launch) const { return params_.data() + launch.params_at; }
  void clear() {
    launches_.clear();
    params_.clear();
  }

 private:
  DeviceFacts device_;
  std::vector<Launch> launches_;
  std::vector<unsigned char> params_;
};

}  // namespace lowrank::cuda
