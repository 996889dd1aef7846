// The memory of the device: addresses of their own, with pages around each allocation that nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lowrank::emulator {

class DeviceMemory {
 public:
  // Null where it is more than the device has left. Aligned to 256 bytes and no more; garbage.
  void* allocate(int device, size_t bytes);
  bool free(void* data);

  bool is_device(const void* data) const {
    return static_cast<const uint8_t*>(data) >= base_ && static_cast<const uint8_t*>(data) < base_ + kRange;
  }
  // Whether one allocation holds all of it.
  bool holds(const void* data, size_t bytes) const {
    if (!is_device(data)) return false;
    const uint8_t* const at = static_cast<const uint8_t*>(data);
    const uint32_t index = allocation_of_granule_[static_cast<size_t>(at - base_) / kGranule];
    if (index == 0) return false;
    const Allocation& allocation = allocations_[index];
    return at >= allocation.data && bytes <= allocation.bytes &&
           static_cast<size_t>(at - allocation.data) <= allocation.bytes - bytes;
  }
  size_t used(int device) const;

 private:
  static constexpr size_t kRange = size_t{64} << 30;  // of addresses
  static constexpr size_t kGranule = size_t{64} << 10;

  struct Allocation {
    uint8_t* data;
    size_t bytes;
    size_t granule;
    int device;
    size_t granules;  // without the one behind it, which nobody may touch
  };

  size_t find_room(size_t granules) const;

  uint8_t* base_ = nullptr;
  std::vector<uint32_t> allocation_of_granule_;  // 0: none
  std::vector<Allocation> allocations_;          // the first is none
  std::vector<uint32_t> unused_;                 // of allocations_
};

DeviceMemory& device_memory();

}  // namespace lowrank::emulator
