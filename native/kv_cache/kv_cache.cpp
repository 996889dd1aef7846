#include "kv_cache/kv_cache.h"

#include <algorithm>
#include <utility>

namespace lowrank {

// Layout of memory_: [page][layer][key or value][kv_heads][kPageTokens * head_dim, as KvLayout says], and of int8 behind a layer's
// values [key or value][kv_heads][kPageTokens] float32 scales. A page's layers lie together, so that the
// memory in use is contiguous and can be on huge pages: a long context then needs few address translations, which are dear
// in a virtual machine.

size_t kv_page_bytes(const KvCacheSpec& spec) {
  const size_t scale = spec.format == KvFormat::kInt8 ? sizeof(float) : 0;
  return (kv_element_bytes(spec.format) * static_cast<size_t>(spec.head_dim) + scale) * 2 * kPageTokens *
         static_cast<size_t>(spec.layers) * static_cast<size_t>(spec.kv_heads);
}

KvCache::KvCache(const Backend& backend, const KvCacheSpec& spec)
    : backend_(backend),
      spec_(spec),
      memory_(backend.reserve(kv_page_bytes(spec) * static_cast<size_t>(spec.max_pages), Buffer::Pages::kHuge)) {}

int32_t KvCache::take_page() {
  if (free_.empty() && touched_pages_ == spec_.max_pages && !(reclaim_ && reclaim_())) return -1;
  int32_t page = -1;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else {
    page = touched_pages_++;
    owners_.push_back(0);
    kept_.push_back(false);
  }
  owners_[static_cast<size_t>(page)] = 1;
  ++used_pages_;
  return page;
}

void KvCache::share_page(int32_t page) {
  const auto index = static_cast<size_t>(page);
  if (kept_[index] && owners_[index] == 1) --idle_pages_;
  ++owners_[index];
}

void KvCache::give_page(int32_t page) {
  const auto index = static_cast<size_t>(page);
  if (--owners_[index] > 0) {
    if (kept_[index] && owners_[index] == 1) ++idle_pages_;
    return;
  }
  free_.push_back(page);
  --used_pages_;
}

void KvCache::keep_page(int32_t page) {
  share_page(page);
  kept_[static_cast<size_t>(page)] = true;
}

void KvCache::unkeep_page(int32_t page) {
  const auto index = static_cast<size_t>(page);
  if (owners_[index] == 1) --idle_pages_;
  kept_[index] = false;
  give_page(page);
}

void KvCache::copy_page(int32_t from, int32_t to) {
  auto* base = memory_.as<uint8_t>();
  backend_.copy(base + page_bytes() * static_cast<size_t>(to), base + page_bytes() * static_cast<size_t>(from), page_bytes());
}

bool KvCache::prefault_next_pages() {
  if (!backend_.shares_host_memory()) return false;
  constexpr size_t kSlice = size_t{1} << 20;
  constexpr size_t kSmallestPage = 4096;
  const size_t begin = std::max(backed_, bytes());
  const size_t end = std::min(bytes() + std::min(kPagesAhead * page_bytes(), kBytesAhead), memory_.bytes());
  if (begin >= end) return false;
  backed_ = std::min(begin + kSlice, end);
  volatile uint8_t* const base = memory_.as<uint8_t>();
  for (size_t at = begin; at < backed_; at += kSmallestPage) base[at] = 0;  // as it is: nobody wrote there
  return true;
}

KvLayer KvCache::layer(int32_t index) const {
  const int64_t heads = int64_t{spec_.kv_heads} * kPageTokens;  // of one layer's keys in one page
  const size_t element = kv_element_bytes(spec_.format);
  const size_t bytes = static_cast<size_t>(heads) * static_cast<size_t>(spec_.head_dim) * element;
  uint8_t* base = memory_.as<uint8_t>() + page_bytes() / static_cast<size_t>(spec_.layers) * static_cast<size_t>(index);
  KvLayer layer = {base, base + bytes, static_cast<int64_t>(page_bytes() / element), spec_.format, backend_.kv_layout()};
  if (spec_.format == KvFormat::kInt8) {
    layer.k_scale = reinterpret_cast<float*>(base + 2 * bytes);
    layer.v_scale = layer.k_scale + heads;
    layer.page_scales = static_cast<int64_t>(page_bytes() / sizeof(float));
  }
  return layer;
}

size_t KvCache::bytes() const { return page_bytes() * static_cast<size_t>(touched_pages_); }

bool BlockTable::reserve(int32_t tokens) {
  while (static_cast<int64_t>(pages_.size()) * kPageTokens < tokens) {
    const int32_t page = cache_->take_page();
    if (page < 0) return false;
    pages_.push_back(page);
  }
  return true;
}

void BlockTable::append_shared(int32_t page) {
  cache_->share_page(page);
  pages_.push_back(page);
}

void BlockTable::replace_by_shared(int32_t index, int32_t page) {
  cache_->share_page(page);
  cache_->give_page(std::exchange(pages_[static_cast<size_t>(index)], page));
}

void BlockTable::clear() {
  for (const int32_t page : pages_) cache_->give_page(page);
  pages_.clear();
}

}  // namespace lowrank
