#include "emulator/shared_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "emulator/sanitizers.h"

namespace lowrank::emulator {

namespace {

constexpr size_t kDynamicAlignment = 128;
constexpr size_t kArrayAlignment = 16;
constexpr size_t kGap = sanitizers::kAddress ? 64 : 0;
constexpr size_t kMaxArrays = 64;
constexpr int kGarbage = 0xff;  // NaN as a float, -1 as an integer

size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

void SharedMemory::begin_block(size_t dynamic_bytes, size_t limit) {
  const size_t wanted = round_up(limit + kMaxArrays * (kGap + kArrayAlignment), kDynamicAlignment);
  if (base_ == nullptr || room_ < wanted) {
    if (base_ != nullptr) {
      sanitizers::unpoison(base_, room_);
      races::forget(base_);
    }
    std::free(base_);
    base_ = static_cast<uint8_t*>(std::aligned_alloc(kDynamicAlignment, wanted));
    if (base_ == nullptr) throw std::bad_alloc();
    room_ = wanted;
    races::watch(base_, room_, races::Memory::kShared);
  }
  sanitizers::unpoison(base_, room_);
  std::memset(base_, kGarbage, limit);
  sanitizers::poison(base_, room_);
  sanitizers::unpoison(base_, dynamic_bytes);
  arrays_.clear();
  arrays_.push_back({nullptr, base_, dynamic_bytes});
  limit_ = limit;
  taken_ = dynamic_bytes;
  used_ = round_up(dynamic_bytes, kArrayAlignment) + kGap;
}

void* SharedMemory::array(const void* tag, size_t bytes) {
  for (size_t i = 1; i < arrays_.size(); ++i)
    if (arrays_[i].tag == tag) return arrays_[i].data;
  if (taken_ + bytes > limit_ || arrays_.size() == kMaxArrays) return nullptr;
  uint8_t* const data = base_ + used_;
  sanitizers::unpoison(data, bytes);
  arrays_.push_back({tag, data, bytes});
  taken_ = round_up(taken_ + bytes, kArrayAlignment);
  used_ = round_up(used_ + bytes, kArrayAlignment) + kGap;
  return data;
}

}  // namespace lowrank::emulator
