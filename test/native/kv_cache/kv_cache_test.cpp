#include "kv_cache/kv_cache.h"

#include <cstring>

#include "check.h"

using namespace lowrank;

TEST("kv cache: memory is backed ahead up to a bound, further as pages are handed out, and what they hold stays") {
  // 1.25 MiB a page, 40 MiB in all.
  KvCache cache(cpu_backend("reference"), {32, 4, 80, KvFormat::kBFloat16, 32});
  const size_t page = cache.page_bytes();
  const auto count = [&] {
    size_t slices = 0;
    while (cache.back_ahead()) ++slices;
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
  while (cache.back_ahead()) ++slices;
  CHECK(slices > 0 && slices <= (KvCache::kPagesAhead * cache.page_bytes() >> 20) + 1);
}
