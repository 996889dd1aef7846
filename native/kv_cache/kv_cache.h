// The paged cache of keys and values: one pool of pages for all sequences of an engine.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "ops/rope_write_kv.h"

namespace lowrank {

struct KvCacheSpec {
  int32_t layers;
  int32_t kv_heads;
  int32_t head_dim;
  KvFormat format;
  int32_t max_pages;  // the budget
};

// Pages that hold so many positions.
inline constexpr int32_t pages_for(int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// Bytes of a page, all layers, keys and values.
size_t kv_page_bytes(const KvCacheSpec& spec);

// A page holds kPageTokens positions of every layer. All of the budget is reserved at once; the host's system backs a page
// when it is first written, so that an engine with a long context costs what its sequences have filled (and prefault_next_pages), a device
// gives all of it. A page lives while it has owners: sequences, and the prefix cache. Used by the engine's thread alone.
class KvCache {
 public:
  // Throws Error(kOutOfMemory).
  KvCache(const Backend& backend, const KvCacheSpec& spec);

  // A free page with one owner, or -1 where the budget is spent and nothing can be reclaimed.
  int32_t take_page();
  // One owner more, one fewer; without owners the page is free.
  void share_page(int32_t page);
  void give_page(int32_t page);
  int32_t owners(int32_t page) const { return owners_[static_cast<size_t>(page)]; }
  // The prefix cache as an owner, at most once a page.
  void keep_page(int32_t page);
  void unkeep_page(int32_t page);
  void copy_page(int32_t from, int32_t to);

  // Where a page is wanted and none is free: must free at least one and return true, or return false.
  void set_reclaim(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }

  // Has the host's system back a little more of the memory behind the pages that were ever handed out, so that the step that fills
  // it need not wait: in a virtual machine fresh memory may take 2 ms a MiB, as long as computing what comes there. For idle
  // times; at most kPagesAhead pages and kBytesAhead bytes ahead. False where nothing is left to do, as on a device.
  bool prefault_next_pages();
  static constexpr size_t kPagesAhead = 20;
  static constexpr size_t kBytesAhead = size_t{16} << 20;

  KvLayer layer(int32_t index) const;

  int32_t used_pages() const { return used_pages_; }
  int32_t free_pages() const { return spec_.max_pages - used_pages_; }
  // Pages that only the prefix cache owns: they can be reclaimed.
  int32_t idle_pages() const { return idle_pages_; }
  int32_t max_pages() const { return spec_.max_pages; }
  size_t bytes() const;  // of the pages used so far
  size_t page_bytes() const { return kv_page_bytes(spec_); }
  size_t bytes_per_token() const { return page_bytes() / kPageTokens; }
  const KvCacheSpec& spec() const { return spec_; }

 private:
  const Backend& backend_;
  const KvCacheSpec spec_;
  const BackendMemory memory_;
  std::vector<int32_t> owners_;  // [touched pages]
  std::vector<bool> kept_;       // [touched pages] the prefix cache is one of the owners
  std::vector<int32_t> free_;
  std::function<bool()> reclaim_;
  int32_t touched_pages_ = 0;  // pages ever handed out: 0 … touched - 1
  size_t backed_ = 0;          // bytes that prefault_next_pages went through
  int32_t used_pages_ = 0;
  int32_t idle_pages_ = 0;
};

// One sequence's pages, in order of position. The first ones may be shared: those are read only.
class BlockTable {
 public:
  explicit BlockTable(KvCache& cache) : cache_(&cache) {}
  ~BlockTable() { clear(); }
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  // Makes room for `tokens` positions. False where the pool has too few pages; what was taken stays.
  bool reserve(int32_t tokens);
  // Becomes an owner of a page and takes it in: as the next one, or in place of the one at `index`, which holds the same.
  void append_shared(int32_t page);
  void replace_by_shared(int32_t index, int32_t page);
  void clear();
  const int32_t* pages() const { return pages_.data(); }
  int32_t size() const { return static_cast<int32_t>(pages_.size()); }

 private:
  KvCache* cache_;
  std::vector<int32_t> pages_;
};

}  // namespace lowrank
