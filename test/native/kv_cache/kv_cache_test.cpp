#include "kv_cache/kv_cache.h"

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "check.h"

using namespace lowrank;

TEST("kv cache: memory is backed ahead up to a bound, further as pages are handed out, and what they hold stays") {
  // 1.25 MiB a page, 40 MiB in all.
  KvCache cache(cpu_backend("reference"), {32, 4, 80, KvFormat::kBFloat16, 32});
  const size_t page = cache.page_bytes();
  const auto count = [&] {
    size_t slices = 0;
    while (cache.prefault_next_pages()) ++slices;
    return slices;
  };
  CHECK_EQ(count(), KvCache::kBytesAhead >> 20);
  CHECK_EQ(count(), size_t{0});
  CHECK_EQ(cache.bytes(), size_t{0});
  auto* const first = static_cast<uint8_t*>(cache.layer(0).k);
  const int32_t at = cache.take_page();
  std::memset(first + page * static_cast<size_t>(at), 7, page);
  CHECK_EQ(count(), size_t{2});
  for (size_t i = 0; i < page; ++i)
    if (first[page * static_cast<size_t>(at) + i] != 7) CHECK(false);
  // To the end, and not beyond it.
  while (cache.take_page() >= 0) {}
  CHECK_EQ(count(), size_t{0});
}

TEST("kv cache: of small pages few are backed ahead") {
  KvCache cache(cpu_backend("reference"), {2, 2, 64, KvFormat::kBFloat16, 1 << 12});
  size_t slices = 0;
  while (cache.prefault_next_pages()) ++slices;
  CHECK(slices > 0 && slices <= (KvCache::kPagesAhead * cache.page_bytes() >> 20) + 1);
}

namespace {

KvCache small_cache(int32_t max_pages, KvFormat format = KvFormat::kFloat32) {
  return {cpu_backend("reference"), {2, 3, 8, format, max_pages}};
}

}  // namespace

TEST("kv cache: each page is handed out once, up to the budget, and again when it is given back") {
  KvCache cache = small_cache(3);
  CHECK_EQ(cache.free_pages(), 3);
  const std::set<int32_t> taken = {cache.take_page(), cache.take_page(), cache.take_page()};
  CHECK(taken == std::set<int32_t>({0, 1, 2}));
  CHECK_EQ(cache.take_page(), -1);
  CHECK_EQ(cache.used_pages(), 3);
  cache.give_page(1);
  CHECK_EQ(cache.free_pages(), 1);
  CHECK_EQ(cache.take_page(), 1);
  CHECK_EQ(cache.take_page(), -1);
}

TEST("kv cache: a page is free once its last owner gives it, and idle while only the prefix cache has it") {
  KvCache cache = small_cache(2);
  const int32_t page = cache.take_page();
  cache.share_page(page);
  CHECK_EQ(cache.owners(page), 2);
  cache.give_page(page);
  CHECK_EQ(cache.used_pages(), 1);
  cache.keep_page(page);
  CHECK_EQ(cache.idle_pages(), 0);
  cache.give_page(page);
  CHECK_EQ(cache.idle_pages(), 1);
  cache.share_page(page);
  CHECK_EQ(cache.idle_pages(), 0);
  cache.give_page(page);
  cache.unkeep_page(page);
  CHECK_EQ(cache.idle_pages(), 0);
  CHECK_EQ(cache.used_pages(), 0);
}

TEST("kv cache: pages are reclaimed only where none is free") {
  KvCache cache = small_cache(2);
  std::vector<int32_t> kept;
  int reclaims = 0;
  cache.set_reclaim([&] {
    ++reclaims;
    if (kept.empty()) return false;
    cache.unkeep_page(kept.back());
    kept.pop_back();
    return true;
  });
  const int32_t page = cache.take_page();
  cache.keep_page(page);
  cache.give_page(page);
  kept.push_back(page);
  const int32_t other = cache.take_page();
  CHECK(other != page);
  CHECK_EQ(reclaims, 0);
  CHECK_EQ(cache.take_page(), page);
  CHECK_EQ(reclaims, 1);
  CHECK_EQ(cache.take_page(), -1);
  CHECK_EQ(reclaims, 2);
}

TEST("kv cache: a block table has a page for each 32 positions, and keeps those it got where there are too few") {
  KvCache cache = small_cache(4);
  BlockTable one(cache);
  CHECK(one.reserve(0));
  CHECK_EQ(one.size(), 0);
  CHECK(one.reserve(kPageTokens));
  CHECK_EQ(one.size(), 1);
  CHECK(one.reserve(kPageTokens + 1));
  CHECK(one.reserve(5));
  CHECK_EQ(one.size(), 2);
  CHECK(one.pages()[0] != one.pages()[1]);
  {
    BlockTable two(cache);
    CHECK(!two.reserve(3 * kPageTokens));
    CHECK_EQ(two.size(), 2);
    CHECK_EQ(cache.free_pages(), 0);
  }
  CHECK_EQ(cache.free_pages(), 2);
  CHECK(one.reserve(4 * kPageTokens));
  one.clear();
  CHECK_EQ(one.size(), 0);
  CHECK_EQ(cache.used_pages(), 0);
}

TEST("kv cache: block tables share pages, and take a shared one for one of their own") {
  KvCache cache = small_cache(4);
  BlockTable one(cache), two(cache);
  CHECK(one.reserve(2 * kPageTokens));
  two.append_shared(one.pages()[0]);
  CHECK(two.reserve(2 * kPageTokens));
  CHECK_EQ(cache.used_pages(), 3);
  two.replace_by_shared(1, one.pages()[1]);
  CHECK_EQ(cache.used_pages(), 2);
  CHECK_EQ(cache.owners(one.pages()[1]), 2);
  one.clear();
  CHECK_EQ(cache.used_pages(), 2);
  two.clear();
  CHECK_EQ(cache.used_pages(), 0);
}

TEST("kv cache: keys, values and scales of all layers and pages lie apart, and a copy has them all") {
  for (const KvFormat format : {KvFormat::kFloat32, KvFormat::kBFloat16, KvFormat::kInt8}) {
    constexpr int32_t kPages = 3;
    KvCache cache = small_cache(kPages, format);
    for (int32_t page = 0; page < kPages; ++page) CHECK_EQ(cache.take_page(), page);
    const size_t bytes = kv_element_bytes(format) * 3 * kPageTokens * 8;
    std::map<uint8_t*, size_t> ranges;  // begin, bytes
    const auto fill = [&](void* data, size_t count, int32_t page) {
      ranges[static_cast<uint8_t*>(data)] = count;
      std::memset(data, 1 + page, count);
    };
    for (int32_t index = 0; index < 2; ++index) {
      const KvLayer layer = cache.layer(index);
      for (int32_t page = 0; page < kPages; ++page) {
        const size_t at = static_cast<size_t>(page * layer.page_elements) * kv_element_bytes(format);
        fill(static_cast<uint8_t*>(layer.k) + at, bytes, page);
        fill(static_cast<uint8_t*>(layer.v) + at, bytes, page);
        if (format != KvFormat::kInt8) continue;
        fill(layer.k_scale + page * layer.page_scales, 3 * kPageTokens * sizeof(float), page);
        fill(layer.v_scale + page * layer.page_scales, 3 * kPageTokens * sizeof(float), page);
      }
    }
    // Side by side without a gap: as many bytes as the pages have.
    uint8_t* end = ranges.begin()->first;
    for (const auto& [begin, count] : ranges) {
      CHECK(begin == end);
      end = begin + count;
    }
    CHECK_EQ(static_cast<size_t>(end - ranges.begin()->first), kPages * cache.page_bytes());
    cache.copy_page(2, 0);
    uint8_t* const base = ranges.begin()->first;
    for (size_t i = 0; i < kPages * cache.page_bytes(); ++i) {
      const size_t page = i / cache.page_bytes();
      if (base[i] != (page == 0 ? 3 : 1 + page)) {
        CHECK(!"the copy is of one page");
        break;
      }
    }
  }
}
