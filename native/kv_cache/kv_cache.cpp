#include "kv_cache/kv_cache.h"

namespace lowrank {

// Layout of memory_: [page][layer][key or value][kv_heads][kPageTokens][head_dim]. A page's layers lie together, so that the
// memory in use is contiguous and can be on huge pages: a long context then needs few address translations, which are dear
// in a virtual machine.

KvCache::KvCache(const KvCacheSpec& spec) : spec_(spec) {
  memory_ = Buffer(bytes_per_token() * kPageTokens * static_cast<size_t>(spec.max_pages));
}

int32_t KvCache::take_page() {
  int32_t page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (touched_pages_ < spec_.max_pages) {
    page = touched_pages_++;
  } else {
    return -1;
  }
  ++used_pages_;
  return page;
}

void KvCache::give_page(int32_t page) {
  free_.push_back(page);
  --used_pages_;
}

KvLayer KvCache::layer(int32_t index) const {
  const int64_t elements = int64_t{spec_.kv_heads} * kPageTokens * spec_.head_dim;  // of one layer's keys in one page
  const size_t bytes = static_cast<size_t>(elements) * element_bytes();
  uint8_t* base = memory_.as<uint8_t>() + 2 * bytes * static_cast<size_t>(index);
  return {base, base + bytes, elements * 2 * spec_.layers, spec_.format};
}

size_t KvCache::bytes_per_token() const {
  return element_bytes() * 2 * static_cast<size_t>(spec_.layers) * static_cast<size_t>(spec_.kv_heads) *
         static_cast<size_t>(spec_.head_dim);
}

size_t KvCache::bytes() const { return bytes_per_token() * kPageTokens * static_cast<size_t>(touched_pages_); }

bool BlockTable::reserve(int32_t tokens) {
  while (static_cast<int64_t>(pages_.size()) * kPageTokens < tokens) {
    const int32_t page = cache_->take_page();
    if (page < 0) return false;
    pages_.push_back(page);
  }
  return true;
}

void BlockTable::clear() {
  for (const int32_t page : pages_) cache_->give_page(page);
  pages_.clear();
}

}  // namespace lowrank
