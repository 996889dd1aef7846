#include "core/buffer.h"

#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>
#include <string>

#include "core/error.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace lowrank {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kPage = size_t{1} << 16;  // a multiple of every system's
constexpr size_t kHugePage = size_t{2} << 20;

[[noreturn]] void refuse(size_t bytes) {
  throw Error(ErrorCode::kOutOfMemory, "Expected " + std::to_string(bytes) + " bytes of memory, the system refused.");
}

#if defined(__linux__)

// Maps `size` bytes (a multiple of a page) that begin on a huge-page border, or null. Over-allocates by one huge
// page and gives the ends back: streaming weights through 4 KiB pages costs a TLB miss each 64 cache lines.
void* map_aligned(size_t size, int advice) {
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned != begin) munmap(raw, aligned - begin);
  const size_t tail = begin + size + kHugePage - (aligned + size);
  if (tail != 0) munmap(reinterpret_cast<void*>(aligned + size), tail);
  madvise(reinterpret_cast<void*>(aligned), size, advice);
  return reinterpret_cast<void*>(aligned);
}

// Blocks of middling size (the matrices of a small model) share slabs of huge pages. A slab's memory is handed out once,
// zeroed as the system gave it, and goes back when its last block does.
class Slabs {
 public:
  static constexpr size_t kSlab = size_t{32} << 20;
  static constexpr size_t kLeast = size_t{128} << 10;
  static constexpr size_t kMost = 2 * kHugePage;  // larger ones have a mapping of their own

  static Slabs& process() {
    static Slabs& slabs = *new Slabs;  // never destroyed: buffers may go after it would
    return slabs;
  }

  void* take(size_t bytes) {
    const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (slabs_.empty() || kSlab - slabs_.back().used < size) {
      void* begin = map_aligned(kSlab, MADV_HUGEPAGE);
      if (begin == nullptr) return nullptr;
      slabs_.push_back({static_cast<uint8_t*>(begin), 0, 0});
    }
    Slab& slab = slabs_.back();
    void* block = slab.begin + slab.used;
    slab.used += size;
    ++slab.live;
    return block;
  }

  // False where `block` is none of a slab.
  bool give(void* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto slab = slabs_.begin(); slab != slabs_.end(); ++slab) {
      const auto* at = static_cast<uint8_t*>(block);
      if (at < slab->begin || at >= slab->begin + kSlab) continue;
      if (--slab->live == 0) {
        munmap(slab->begin, kSlab);
        slabs_.erase(slab);
      }
      return true;
    }
    return false;
  }

 private:
  struct Slab {
    uint8_t* begin;
    size_t used;
    int live;  // blocks in use
  };
  std::mutex mutex_;
  std::list<Slab> slabs_;  // the last one is being filled
};

#endif

}  // namespace

Buffer::Buffer(size_t bytes, Pages pages) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > (size_t{1} << 46)) throw Error(ErrorCode::kOutOfMemory, "Expected a size below 64 TiB for a buffer.");
#if defined(__linux__)
  if (bytes >= (pages == Pages::kHuge ? Slabs::kMost : Slabs::kLeast)) {
    const size_t unit = pages == Pages::kOwn ? kPage : kHugePage;
    const size_t size = (bytes + unit - 1) / unit * unit;
    data_ = map_aligned(size, pages == Pages::kSmall ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    if (data_ == nullptr) refuse(bytes);
    mapped_ = size;
    return;
  }
  if (pages == Pages::kHuge && bytes >= Slabs::kLeast) {
    data_ = Slabs::process().take(bytes);
    if (data_ == nullptr) refuse(bytes);
    return;
  }
#else
  (void)pages;
#endif
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_ = std::aligned_alloc(kAlignment, size);
  if (data_ == nullptr) refuse(bytes);
  std::memset(data_, 0, size);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
#if defined(__linux__)
  if (mapped_ != 0) {
    munmap(data_, mapped_);
    return;
  }
  if (bytes_ >= Slabs::kLeast && Slabs::process().give(data_)) return;
#endif
  std::free(data_);
}

void trim_heap() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace lowrank
