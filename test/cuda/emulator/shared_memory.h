// The shared memory of the block that runs: garbage at first, with gaps that the address sanitizer watches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "emulator/threads.h"

namespace lowrank::emulator {

class SharedMemory {
 public:
  // `limit`: bytes that dynamic memory and arrays may take together.
  void begin_block(size_t dynamic_bytes, size_t limit);

  void* dynamic() const { return base_; }
  size_t dynamic_bytes() const { return arrays_.front().bytes; }
  // Null where it is over the limit.
  void* array(const void* tag, size_t bytes);
  // Whether one array, or the dynamic memory, holds all of it.
  bool holds(const void* data, size_t bytes) const {
    const uint8_t* const at = static_cast<const uint8_t*>(data);
    for (const Array& array : arrays_)
      if (at >= array.data && at + bytes <= array.data + array.bytes) return true;
    return false;
  }

 private:
  struct Array {
    const void* tag;
    uint8_t* data;
    size_t bytes;
  };

  uint8_t* base_ = nullptr;
  size_t room_ = 0;
  size_t used_ = 0;   // with gaps
  size_t taken_ = 0;  // without
  size_t limit_ = 0;
  std::vector<Array> arrays_;  // the first is the dynamic memory
};

}  // namespace lowrank::emulator
