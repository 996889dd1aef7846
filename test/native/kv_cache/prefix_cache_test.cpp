// The prefix cache against a plain list of all texts that were published.
#include "kv_cache/prefix_cache.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"

using namespace lowrank;

namespace {

constexpr KvCacheSpec kSpec = {1, 1, 8, KvFormat::kFloat32, 24};

std::vector<int32_t> text(int32_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) tokens[static_cast<size_t>(i)] = first + i;
  return tokens;
}

PrefixContext base_context(const std::string& salt = "", const std::string& adapters = "") { return {salt, {{0, adapters}}}; }

// A sequence as the scheduler drives one: what it finds, what it computes, what it leaves.
struct Walk {
  explicit Walk(KvCache& cache) : pages(cache), blocks(cache) {}
  KvCache& pages;
  BlockTable blocks;
  PrefixCache::Cursor cursor;
  int32_t found = 0;

  float* cell(int32_t position) const {
    const KvLayer layer = pages.layer(0);
    const int32_t page = blocks.pages()[position / kPageTokens];
    return static_cast<float*>(layer.k) + page * layer.page_elements + position % kPageTokens * 8;
  }
  // Stands for keys: a number that depends on all tokens up to the position and on what they ran with.
  static float key(const std::vector<int32_t>& tokens, int32_t position, const PrefixContext& context) {
    uint32_t state = 1;
    for (const char c : context.salt) state = state * 31 + static_cast<uint8_t>(c);
    for (int32_t i = 0; i <= position; ++i) {
      for (const auto& span : context.spans)
        if (span.begin <= i)
          for (const char c : span.adapters) state = state * 33 + static_cast<uint8_t>(c);
      state = state * 1664525 + static_cast<uint32_t>(tokens[static_cast<size_t>(i)]);
    }
    return static_cast<float>(state >> 8);
  }
  bool begin(PrefixCache& cache, const std::vector<int32_t>& tokens, const PrefixContext& context) {
    const auto limit = static_cast<int32_t>(tokens.size()) - 1;
    found = cache.match(tokens, limit, context, blocks, cursor);
    CHECK(found <= limit);
    bool right = true;
    for (int32_t i = 0; i < found; ++i) right &= *cell(i) == key(tokens, i, context);
    return right;
  }
  bool compute(const std::vector<int32_t>& tokens, const PrefixContext& context) {
    if (!blocks.reserve(static_cast<int32_t>(tokens.size()))) return false;
    for (int32_t i = found; i < static_cast<int32_t>(tokens.size()); ++i) *cell(i) = key(tokens, i, context);
    return true;
  }
};

// Runs a text through the cache from beginning to end, and says how much of it was known.
int32_t visit(KvCache& pages, PrefixCache& cache, const std::vector<int32_t>& tokens, const PrefixContext& context) {
  Walk walk(pages);
  CHECK(walk.begin(cache, tokens, context));
  CHECK(walk.compute(tokens, context));
  cache.publish_all(tokens, static_cast<int32_t>(tokens.size()), context, walk.blocks, walk.cursor);
  walk.blocks.clear();
  return walk.found;
}

}  // namespace

TEST("prefix cache: a text is known up to its last token, whole blocks and a part of one") {
  KvCache pages(cpu_backend(), kSpec);
  PrefixCache cache(pages);
  CHECK_EQ(visit(pages, cache, text(70), base_context()), 0);
  CHECK_EQ(visit(pages, cache, text(70), base_context()), 69);
  CHECK_EQ(visit(pages, cache, text(100), base_context()), 70);
  CHECK_EQ(visit(pages, cache, text(64), base_context()), 63);
  CHECK_EQ(visit(pages, cache, text(32), base_context()), 31);
  CHECK_EQ(visit(pages, cache, text(70, 1), base_context()), 0);
  CHECK_EQ(pages.used_pages(), pages.idle_pages());
}

TEST("prefix cache: other salts and other adapters know nothing") {
  KvCache pages(cpu_backend(), kSpec);
  PrefixCache cache(pages);
  CHECK_EQ(visit(pages, cache, text(40), base_context("a")), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context("b")), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context()), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context("", "x*1;")), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context("", "x*2;")), 0);
  // A salt cannot pass for an adapter, nor for the length in front of another.
  CHECK_EQ(visit(pages, cache, text(40), base_context("x*1;")), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context("1:a")), 0);
  CHECK_EQ(visit(pages, cache, text(40), base_context("a")), 39);
  CHECK_EQ(visit(pages, cache, text(40), base_context("", "x*1;")), 39);
}

TEST("prefix cache: an adapter that is switched on later uses the base's blocks up to there") {
  KvCache pages(cpu_backend(), kSpec);
  PrefixCache cache(pages);
  visit(pages, cache, text(120), base_context());
  const PrefixContext switched = {"", {{0, ""}, {75, "x*1;"}}};
  CHECK_EQ(visit(pages, cache, text(120), switched), 75);
  CHECK_EQ(visit(pages, cache, text(120), switched), 119);
  CHECK_EQ(visit(pages, cache, text(120), base_context()), 119);
  // On a block's border the blocks before it are the base's, those behind it are not.
  const PrefixContext border = {"", {{0, ""}, {64, "x*1;"}}};
  CHECK_EQ(visit(pages, cache, text(120), border), 64);
  CHECK_EQ(visit(pages, cache, text(120), border), 119);
}

TEST("prefix cache: two sequences that compute the same share one copy") {
  KvCache pages(cpu_backend(), kSpec);
  PrefixCache cache(pages);
  const auto tokens = text(64);
  Walk one(pages), two(pages);
  one.begin(cache, tokens, base_context());
  two.begin(cache, tokens, base_context());
  CHECK(one.compute(tokens, base_context()));
  CHECK(two.compute(tokens, base_context()));
  CHECK_EQ(pages.used_pages(), 4);
  cache.publish(tokens, 64, base_context(), one.blocks, one.cursor);
  cache.publish(tokens, 64, base_context(), two.blocks, two.cursor);
  CHECK_EQ(pages.used_pages(), 2);
  CHECK_EQ(one.blocks.pages()[0], two.blocks.pages()[0]);
  CHECK_EQ(pages.owners(one.blocks.pages()[1]), 3);
  CHECK_EQ(pages.idle_pages(), 0);
  one.blocks.clear();
  CHECK_EQ(pages.idle_pages(), 0);
  two.blocks.clear();
  CHECK_EQ(pages.idle_pages(), 2);
  CHECK_EQ(cache.shared_blocks(tokens, 64, base_context()), 0);
}

TEST("prefix cache: gives up the least recent leaf that nobody uses, and never a used one") {
  KvCache pages(cpu_backend(), kSpec);
  PrefixCache cache(pages);
  const auto used = text(96, 1000);
  Walk walk(pages);
  walk.begin(cache, used, base_context());
  walk.compute(used, base_context());
  cache.publish(used, 96, base_context(), walk.blocks, walk.cursor);
  visit(pages, cache, text(320, 2000), base_context());
  visit(pages, cache, text(320, 3000), base_context());
  CHECK_EQ(pages.free_pages(), 1);
  visit(pages, cache, text(128, 4000), base_context());  // three pages from the end of the oldest text
  CHECK_EQ(visit(pages, cache, text(320, 3000), base_context()), 319);
  // The copy of its last block cost the oldest text one more.
  CHECK_EQ(visit(pages, cache, text(224, 2000), base_context()), 192);
  CHECK_EQ(cache.shared_blocks(used, 96, base_context()), 3);
  BlockTable all(pages);
  CHECK(!all.reserve(24 * kPageTokens));
  CHECK_EQ(all.size(), 21);
  CHECK_EQ(cache.blocks(), 3);
  for (int32_t i = 0; i < 96; ++i) CHECK_EQ(*walk.cell(i), Walk::key(used, i, base_context()));
  all.clear();
  walk.blocks.clear();
  cache.clear();
  CHECK_EQ(cache.blocks(), 0);
  CHECK_EQ(pages.used_pages(), 0);
}

TEST("prefix cache: a very deep tree is freed without recursion") {
  KvCacheSpec spec = kSpec;
  // Destructors that called each other would need some 100 bytes of stack a block at least, of 8 MiB.
  spec.max_pages = 200000;
  KvCache pages(cpu_backend(), spec);
  auto cache = std::make_unique<PrefixCache>(pages);
  std::vector<int32_t> tokens(static_cast<size_t>(spec.max_pages) * kPageTokens, 5);
  Walk walk(pages);
  CHECK(walk.blocks.reserve(static_cast<int32_t>(tokens.size())));
  cache->publish(tokens, static_cast<int32_t>(tokens.size()), base_context(), walk.blocks, walk.cursor);
  CHECK_EQ(cache->blocks(), int64_t{spec.max_pages});
  walk.blocks.clear();
  cache.reset();
  CHECK_EQ(pages.used_pages(), 0);
}

TEST("prefix cache: whatever comes, what is found is right and pages are never lost") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    KvCacheSpec spec = kSpec;
    spec.max_pages = 8 + round;
    KvCache pages(cpu_backend(), spec);
    {
      PrefixCache cache(pages);
      std::vector<std::unique_ptr<Walk>> walks;
      for (int visit_index = 0; visit_index < 300; ++visit_index) {
        std::vector<int32_t> tokens(1 + random() % 150);
        const uint32_t seed = random() % 3;
        for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 + seed);
        if (random() % 2) tokens[random() % tokens.size()] = -1;
        PrefixContext context = base_context(random() % 4 ? "" : "s", random() % 2 ? "" : "x*1;");
        if (random() % 3 == 0) context.spans.push_back({static_cast<int32_t>(1 + random() % 100), "y*1;"});
        auto walk = std::make_unique<Walk>(pages);
        CHECK(walk->begin(cache, tokens, context));
        if (walk->compute(tokens, context)) {
          const auto computed = static_cast<int32_t>(random() % (tokens.size() + 1));
          cache.publish(tokens, std::max(computed, walk->found), context, walk->blocks, walk->cursor);
          if (random() % 2)
            cache.publish_all(tokens, static_cast<int32_t>(tokens.size()), context, walk->blocks, walk->cursor);
          for (int32_t i = 0; i < static_cast<int32_t>(tokens.size()); ++i)
            CHECK_EQ(*walk->cell(i), Walk::key(tokens, i, context));
        }
        if (random() % 4 == 0) walks.push_back(std::move(walk));
        while (walks.size() > random() % 3) walks.erase(walks.begin());
        CHECK(pages.idle_pages() <= pages.used_pages());
      }
      walks.clear();
      CHECK_EQ(pages.idle_pages(), pages.used_pages());
      CHECK_EQ(cache.blocks(), int64_t{pages.used_pages()});
    }
    CHECK_EQ(pages.used_pages(), 0);
  }
}
