// A call of a device op with arguments that point to the host's memory: what they point to is copied to the device, the op runs
// as a step of its own, and what it wrote is copied back.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "device_under_test.h"

namespace lowrank::test {

class HostCall {
 public:
  // Device copies of host [count]; null for null. The same host address gives the same copy.
  template <class T>
  const T* in(const T* host, size_t count) {
    return static_cast<const T*>(copy_of(const_cast<T*>(host), count * sizeof(T), false));
  }
  // Copied back when the op has run. What it does not write comes back as it was.
  template <class T>
  T* in_out(T* host, size_t count) {
    return static_cast<T*>(copy_of(host, count * sizeof(T), true));
  }
  // A host array [rows] of pointers, each null or to [count]: the same with device copies of these.
  template <class T>
  const T* const* in_each(const T* const* host, size_t rows, size_t count) {
    if (host == nullptr) return nullptr;
    std::vector<const void*>& pointers = pointers_.emplace_back();
    for (size_t i = 0; i < rows; ++i) pointers.push_back(in(host[i], count));
    return reinterpret_cast<const T* const*>(pointers.data());
  }

  // Arrays of `rows` rows, each read and written back.
  Activations activations(const Activations& in, int32_t rows);
  // Of a batch of `rows` rows. A norm_gain is [in_cols]; an output_gain and a bias are [out_cols], left out where that is 0.
  AdapterSegments adapters(const AdapterSegments& segments, int32_t rows, int32_t in_cols, int32_t out_cols);

  // Records `op` as a step, runs it, and copies back.
  void run(const std::function<void()>& op);

 private:
  struct Copy {
    BackendMemory device;
    bool written;
  };
  void* copy_of(void* host, size_t bytes, bool written);

  std::map<void*, Copy> copies_;
  std::vector<std::vector<const void*>> pointers_;
  std::vector<std::vector<ShrinkTerm>> shrink_;
  std::vector<AdapterRows> rows_;
};

}  // namespace lowrank::test
