// Aligned, zero-initialised memory that lasts: weights, caches, scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace lowrank {

// Owns `bytes` of memory aligned to 64 bytes, zeroed. From 4 MiB on (kSmall: 128 KiB) it is a mapping of its own, backed
// by the system only where it is touched. Lasting blocks from 128 KiB on (kHuge) share slabs of huge pages.
// Throws Error(kOutOfMemory) where the system refuses.
class Buffer {
 public:
  // kHuge: for what lasts and is streamed, such as weights. kSmall: pages of 4 KiB, for memory that may stay untouched in
  // part or is given back soon.
  enum class Pages { kHuge, kSmall };

  Buffer() = default;
  explicit Buffer(size_t bytes, Pages pages = Pages::kHuge);
  ~Buffer();
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <class T = uint8_t>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t mapped_ = 0;  // bytes of the mapping, or 0 where the memory came from the heap
};

// Gives heap memory that has been freed back to the system, where the allocator can: after work that needed much for a while.
void trim_heap();

}  // namespace lowrank
