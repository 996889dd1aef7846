// The paged cache of keys and values: one pool of pages for all sequences of an engine.
#pragma once

#include <cstdint>
#include <vector>

#include "core/buffer.h"
#include "ops/rope_write_kv.h"

namespace lowrank {

struct KvCacheSpec {
  int32_t layers;
  int32_t kv_heads;
  int32_t head_dim;
  KvFormat format;
  int32_t max_pages;  // the budget
};

// A page holds kPageTokens positions of every layer. The address space is reserved at once, and the system backs a page
// when it is first written, so an engine with a long context costs what its sequences have filled. Used by the engine's
// thread alone.
class KvCache {
 public:
  explicit KvCache(const KvCacheSpec& spec);

  // A free page's index, or -1 where the budget is spent.
  int32_t take_page();
  void give_page(int32_t page);

  KvLayer layer(int32_t index) const;

  int32_t free_pages() const { return spec_.max_pages - used_pages_; }
  int32_t max_pages() const { return spec_.max_pages; }
  size_t bytes() const;            // memory taken so far
  size_t bytes_per_token() const;  // all layers, keys and values
  const KvCacheSpec& spec() const { return spec_; }

 private:

  KvCacheSpec spec_;
  Buffer memory_;
  std::vector<int32_t> free_;
  int32_t touched_pages_ = 0;  // pages ever handed out: 0 … touched - 1
  int32_t used_pages_ = 0;
};

// One sequence's pages, in order of position.
class BlockTable {
 public:
  explicit BlockTable(KvCache& cache) : cache_(&cache) {}
  ~BlockTable() { clear(); }
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  // Makes room for `tokens` positions. False where the pool has too few pages; what was taken stays.
  bool reserve(int32_t tokens);
  void clear();
  const int32_t* pages() const { return pages_.data(); }

 private:
  KvCache* cache_;
  std::vector<int32_t> pages_;
};

}  // namespace lowrank
