#include "core/buffer.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "core/error.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lowrank {
namespace {
constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

Buffer::Buffer(size_t bytes, Pages pages) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes > (size_t{1} << 46)) throw Error(ErrorCode::kOutOfMemory, "Expected a size below 64 TiB for a buffer.");
#if defined(__linux__)
  if (bytes >= 2 * kHugePage) {
    // Over-allocates by one huge page and gives the ends back, so that the block begins on a huge-page border:
    // streaming weights through 4 KiB pages costs a TLB miss each 64 cache lines.
    const size_t size = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
      throw Error(ErrorCode::kOutOfMemory, "Expected " + std::to_string(bytes) + " bytes of memory, the system refused.");
    const auto begin = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
    if (aligned != begin) munmap(raw, aligned - begin);
    const size_t tail = begin + size + kHugePage - (aligned + size);
    if (tail != 0) munmap(reinterpret_cast<void*>(aligned + size), tail);
    data_ = reinterpret_cast<void*>(aligned);
    mapped_ = size;
    madvise(data_, size, pages == Pages::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return;
  }
#endif
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_ = std::aligned_alloc(kAlignment, size);
  if (data_ == nullptr)
    throw Error(ErrorCode::kOutOfMemory, "Expected " + std::to_string(bytes) + " bytes of memory, the system refused.");
  std::memset(data_, 0, size);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
#if defined(__linux__)
  if (mapped_ != 0) {
    munmap(data_, mapped_);
    return;
  }
#endif
  std::free(data_);
}

}  // namespace lowrank
