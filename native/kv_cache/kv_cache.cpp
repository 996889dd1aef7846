#include "kv_cache/kv_cache.h"

namespace lowrank {

// Layout of memory_: [page][layer][key or value][kv_heads][kPageTokens][head_dim], and of int8 behind a layer's values
// [key or value][kv_heads][kPageTokens] float32 scales. A page's layers lie together, so that the
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
  const int64_t heads = int64_t{spec_.kv_heads} * kPageTokens;  // of one layer's keys in one page
  const size_t element = kv_element_bytes(spec_.format);
  const size_t bytes = static_cast<size_t>(heads) * static_cast<size_t>(spec_.head_dim) * element;
  const size_t page_bytes = bytes_per_token() * kPageTokens;
  uint8_t* base = memory_.as<uint8_t>() + page_bytes / static_cast<size_t>(spec_.layers) * static_cast<size_t>(index);
  KvLayer layer = {base, base + bytes, static_cast<int64_t>(page_bytes / element), spec_.format};
  if (spec_.format == KvFormat::kInt8) {
    layer.k_scale = reinterpret_cast<float*>(base + 2 * bytes);
    layer.v_scale = layer.k_scale + heads;
    layer.page_scales = static_cast<int64_t>(page_bytes / sizeof(float));
  }
  return layer;
}

size_t KvCache::bytes_per_token() const {
  const size_t scale = spec_.format == KvFormat::kInt8 ? sizeof(float) : 0;
  return (kv_element_bytes(spec_.format) * static_cast<size_t>(spec_.head_dim) + scale) * 2 *
         static_cast<size_t>(spec_.layers) * static_cast<size_t>(spec_.kv_heads);
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
