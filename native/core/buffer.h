// Aligned, zero-initialised memory that lasts: weights, caches, scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace lowrank {

// Owns `bytes` of memory aligned to 64 bytes, zeroed. From 4 MiB on (kSmall: 128 KiB) it is a mapping of its own, backed
// by the system only where it is touched. Lasting blocks from 128 KiB on (kHuge) share slabs of huge pages.
// Throws Error(kOutOfMemory) where the system refuses.
class Buffer {
 public:
  // kHuge: for what lasts and is streamed, such as weights. kSmall: pages of 4 KiB, for memory that may stay untouched in
  // part or is given back soon. kOwn: for what is streamed and comes and goes, such as adapters: a mapping of its own from
  // 128 KiB on, with as many huge pages as it fills.
  enum class Pages { kHuge, kSmall, kOwn };

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

// A run of bytes of a buffer, or of other memory, that several such parts may share; it lives as long as the last of them.
class BufferPart {
 public:
  BufferPart() = default;
  explicit BufferPart(Buffer&& whole) : BufferPart(std::make_shared<const Buffer>(std::move(whole))) {}
  explicit BufferPart(std::shared_ptr<const Buffer> whole) : BufferPart(whole, 0, whole->bytes()) {}
  BufferPart(std::shared_ptr<const Buffer> buffer, size_t begin, size_t bytes)
      : data_(buffer->as<uint8_t>() + begin), bytes_(bytes), owner_(std::move(buffer)) {}
  // `owner` keeps the bytes there.
  BufferPart(std::shared_ptr<const void> owner, uint8_t* data, size_t bytes) : data_(data), bytes_(bytes), owner_(std::move(owner)) {}

  template <class T = uint8_t>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<const void> owner_;
};

// Gives heap memory that has been freed back to the system, where the allocator can: after work that needed much for a while.
void trim_heap();

}  // namespace lowrank
