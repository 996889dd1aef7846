#include "emulator/device_memory.h"

#include <sys/mman.h>

#include <cstring>

#include "emulator/emulator.h"
#include "emulator/sanitizers.h"

namespace lowrank::emulator {

namespace {
constexpr size_t kAlignment = 256;
constexpr int kGarbage = 0xff;  // NaN as a float, -1 as an integer
}  // namespace

DeviceMemory& device_memory() {
  static DeviceMemory* const memory = new DeviceMemory;  // outlives every static object that may free some of it
  return *memory;
}

// First fit, from the beginning; 0 where there is none (the first granule is never given away).
size_t DeviceMemory::find_room(size_t granules) const {
  size_t begin = 1;
  for (size_t granule = 1; granule < allocation_of_granule_.size();) {
    const uint32_t index = allocation_of_granule_[granule];
    if (index != 0) {
      granule = begin = allocations_[index].granule + allocations_[index].granules + 1;
      continue;
    }
    if (++granule - begin == granules + 1) return begin;
  }
  return 0;
}

size_t DeviceMemory::used(int device) const {
  size_t bytes = 0;
  for (const Allocation& allocation : allocations_)
    if (allocation.data != nullptr && allocation.device == device) bytes += allocation.bytes;
  return bytes;
}

void* DeviceMemory::allocate(int device, size_t bytes) {
  if (base_ == nullptr) {
    void* range = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) return nullptr;
    base_ = static_cast<uint8_t*>(range);
    races::watch(base_, kRange, races::Memory::kDevice);
    allocation_of_granule_.resize(kRange / kGranule);
    allocations_.resize(1);
  }
  const size_t most = settings().memory_bytes;
  if (bytes > most || used(device) > most - bytes) return nullptr;
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t granules = (padded + kGranule - 1) / kGranule;
  const size_t granule = find_room(granules);
  if (granule == 0) return nullptr;
  uint8_t* const begin = base_ + granule * kGranule;
  if (mprotect(begin, granules * kGranule, PROT_READ | PROT_WRITE) != 0) return nullptr;
  // At the end of its pages, so that what runs over it meets the pages behind.
  uint8_t* const data = begin + granules * kGranule - padded;
  std::memset(data, kGarbage, padded);
  sanitizers::poison(begin, granules * kGranule);
  sanitizers::unpoison(data, bytes);

  uint32_t index = static_cast<uint32_t>(allocations_.size());
  if (unused_.empty()) {
    allocations_.emplace_back();
  } else {
    index = unused_.back();
    unused_.pop_back();
  }
  allocations_[index] = {data, bytes, granule, device, granules};
  for (size_t i = 0; i < granules; ++i) allocation_of_granule_[granule + i] = index;
  return data;
}

bool DeviceMemory::free(void* data) {
  if (!is_device(data)) return false;
  const uint32_t index = allocation_of_granule_[static_cast<size_t>(static_cast<uint8_t*>(data) - base_) / kGranule];
  if (index == 0 || allocations_[index].data != data) return false;
  const Allocation gone = allocations_[index];
  uint8_t* const begin = base_ + gone.granule * kGranule;
  sanitizers::unpoison(begin, gone.granules * kGranule);
  // New pages in their place. The race detector needs not forget what it knows of the old ones: all of it comes before what
  // cudaFree returns to.
  mmap(begin, gone.granules * kGranule, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  for (size_t i = 0; i < gone.granules; ++i) allocation_of_granule_[gone.granule + i] = 0;
  allocations_[index] = {};
  unused_.push_back(index);
  return true;
}

}  // namespace lowrank::emulator
