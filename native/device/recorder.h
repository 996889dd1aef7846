// One step's ops on their way to a device: parameters with device addresses, and the bytes that go there with them.
//
// The device ops of an op table (native/device/<op>.cpp) turn the arguments of ops/<op>.h into the parameters of
// device/params/<op>.h. In those arguments what lives as long as an engine (scratch, cache, weights, gains, biases) is
// device memory already; the small descriptors of a step (rows, positions, tables, adapters) are host memory and are
// staged here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "device/op_code.h"

namespace lowrank::device {

template <class T>
struct Staged {
  T* host;          // to be filled before the step runs
  const T* device;  // where it will lie then
};

class Recorder {
 public:
  virtual ~Recorder() = default;

  // The recorder of the step that this thread records.
  static Recorder& current();

  // Room for `count` elements that travel to the device before the step's first op. The order and the sizes of a step's
  // calls should follow from its shape alone (rows, not adapters): equal steps are then one CUDA graph.
  template <class T>
  Staged<T> stage(size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const Room room = stage_bytes(count * sizeof(T), nullptr);
    return {static_cast<T*>(room.host), static_cast<const T*>(room.device)};
  }

  // The same for what lies in host memory and stays as it is while the step is recorded: a second call with this address
  // gives the same copy.
  template <class T>
  const T* upload(const T* host, size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (host == nullptr) return nullptr;
    const Room room = stage_bytes(count * sizeof(T), host);
    if (room.host != nullptr) std::memcpy(room.host, host, count * sizeof(T));
    return static_cast<const T*>(room.device);
  }

  // As `stage`, once a step for each `key`, an address that stands for what is staged: where it is there already, host is null.
  // A later call with the key may ask for less than the first.
  template <class T>
  Staged<T> stage_once(const void* key, size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const Room room = stage_bytes(count * sizeof(T), key);
    return {static_cast<T*>(room.host), static_cast<const T*>(room.device)};
  }

  // Memory of the device that is copied to `host` (which must live until then) when the step has run. A second call with this
  // address gives the same memory.
  template <class T>
  T* download(T* host, size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(download_bytes(count * sizeof(T), host));
  }

  // Memory of the device for the op that is added next, not cleared: the op after that one gets the same memory again.
  virtual void* workspace(size_t bytes) = 0;

  template <class Params>
  void add(OpCode code, const Params& params) {
    static_assert(std::is_trivially_copyable_v<Params>);
    // Steps are compared by these bytes, so what lies between the members must not differ.
    Params copy = params;
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&copy);
#endif
#endif
    add_op(code, &copy, sizeof copy);
  }

 protected:
  struct Room {
    void* host;  // null: `key` is there already
    void* device;
  };
  virtual Room stage_bytes(size_t bytes, const void* key) = 0;
  virtual void* download_bytes(size_t bytes, void* host) = 0;
  virtual void add_op(OpCode code, const void* params, size_t bytes) = 0;
};

// While it lives, `recorder` is the one of this thread's ops.
class Recording {
 public:
  explicit Recording(Recorder& recorder);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Recorder* before_;
};

}  // namespace lowrank::device
