#include "kv_cache/prefix_cache.h"

#include <algorithm>

namespace lowrank {
namespace {

// A copy of a page costs about as much as computing a few tokens.
constexpr int32_t kMinCopiedTokens = 4;

std::vector<int32_t> slice(const std::vector<int32_t>& tokens, int32_t begin, int32_t end) {
  return {tokens.begin() + begin, tokens.begin() + end};
}

int32_t common(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<int32_t>(ends.first - a.begin());
}

}  // namespace

std::string PrefixContext::describe(int32_t begin, int32_t end) const {
  std::string text;
  if (begin == 0) text = std::to_string(salt.size()) + ":" + salt + (spans.empty() ? "" : spans.front().adapters);
  for (size_t i = 1; i < spans.size(); ++i)
    if (spans[i].begin >= begin && spans[i].begin < end)
      text += "@" + std::to_string(spans[i].begin - begin) + ":" + spans[i].adapters;
  return text;
}

PrefixCache::PrefixCache(KvCache& pages) : pages_(pages) {
  pages_.set_reclaim([this] { return drop_least_recent(); });
}

PrefixCache::~PrefixCache() {
  pages_.set_reclaim(nullptr);
  // From the leaves on: a deep tree must not be freed by recursion.
  while (!by_use_.empty()) drop(by_use_.back());
}

PrefixCache::Children& PrefixCache::children_of(const Cursor& cursor) {
  return cursor.block == nullptr ? roots_ : cursor.block->children;
}

void PrefixCache::touch(Block* block) {
  for (; block != nullptr; block = block->parent) by_use_.splice(by_use_.begin(), by_use_, block->use);
}

std::pair<PrefixCache::Block*, int32_t> PrefixCache::most_alike(const Cursor& cursor, const Key& key) {
  // In lexicographic order the block with the longest common beginning stands beside the key.
  Children& children = children_of(cursor);
  std::pair<Block*, int32_t> best{nullptr, 0};
  const auto try_at = [&](Children::iterator at) {
    if (at->first.context != key.context) return;
    const int32_t tokens = common(at->first.tokens, key.tokens);
    if (tokens > best.second) best = {at->second.get(), tokens};
  };
  const auto after = children.lower_bound(key);
  if (after != children.end()) try_at(after);
  if (after != children.begin()) try_at(std::prev(after));
  return best;
}

int32_t PrefixCache::match(const std::vector<int32_t>& tokens, int32_t limit, const PrefixContext& context, BlockTable& blocks,
                           Cursor& cursor) {
  int32_t begin = 0;
  for (; begin + kPageTokens <= limit; begin += kPageTokens) {
    const int32_t end = begin + kPageTokens;
    Children& children = children_of(cursor);
    const auto found = children.find(Key{context.describe(begin, end), slice(tokens, begin, end)});
    if (found == children.end()) break;
    cursor = {found->second.get(), cursor.blocks + 1};
    blocks.append_shared(cursor.block->page);
  }
  touch(cursor.block);

  // Within the next block only what comes before a change of adapters is common to texts with and without the change.
  int32_t end = std::min(limit, begin + kPageTokens);
  for (const auto& span : context.spans)
    if (span.begin > begin) end = std::min(end, span.begin);
  if (end - begin < kMinCopiedTokens) return begin;
  const auto [block, count] = most_alike(cursor, Key{context.describe(begin, end), slice(tokens, begin, end)});
  if (count < kMinCopiedTokens) return begin;
  const int32_t page = block->page;
  touch(block);
  pages_.share_page(page);  // it must not be reclaimed for its own copy
  const bool reserved = blocks.reserve(begin + 1);
  if (reserved) pages_.copy_page(page, blocks.pages()[begin / kPageTokens]);
  pages_.give_page(page);
  return reserved ? begin + count : begin;
}

int32_t PrefixCache::shared_blocks(const std::vector<int32_t>& tokens, int32_t limit, const PrefixContext& context) const {
  int32_t count = 0;
  const Children* children = &roots_;
  for (int32_t begin = 0; begin + kPageTokens <= limit; begin += kPageTokens, ++count) {
    const auto found =
        children->find(Key{context.describe(begin, begin + kPageTokens), slice(tokens, begin, begin + kPageTokens)});
    if (found == children->end() || pages_.owners(found->second->page) == 1) break;
    children = &found->second->children;
  }
  return count;
}

PrefixCache::Block* PrefixCache::add(const Cursor& at, Key key, int32_t page) {
  Children& children = children_of(at);
  auto block = std::make_unique<Block>();
  block->parent = at.block;
  block->page = page;
  Block* added = block.get();
  const auto [place, inserted] = children.emplace(std::move(key), std::move(block));
  added->place = place;
  added->use = by_use_.insert(by_use_.begin(), added);
  pages_.keep_page(page);
  // A part of this block that an earlier answer ended with is of no more use.
  if (place != children.begin()) {
    const auto before = std::prev(place);
    const bool part = before->first.context == place->first.context &&
                      before->first.tokens.size() < place->first.tokens.size() &&
                      common(before->first.tokens, place->first.tokens) == static_cast<int32_t>(before->first.tokens.size());
    if (part && before->second->children.empty()) drop(before->second.get());
  }
  return added;
}

void PrefixCache::publish(const std::vector<int32_t>& tokens, int32_t computed, const PrefixContext& context,
                          BlockTable& blocks, Cursor& cursor) {
  bool moved = false;
  for (;;) {
    const int32_t begin = cursor.blocks * kPageTokens;
    const int32_t end = begin + kPageTokens;
    if (end > computed) break;
    Key key{context.describe(begin, end), slice(tokens, begin, end)};
    Children& children = children_of(cursor);
    const auto found = children.find(key);
    Block* block = found != children.end() ? found->second.get() : nullptr;
    if (block == nullptr)
      block = add(cursor, std::move(key), blocks.pages()[cursor.blocks]);
    else
      blocks.replace_by_shared(cursor.blocks, block->page);
    cursor = {block, cursor.blocks + 1};
    moved = true;
  }
  if (moved) touch(cursor.block);
}

void PrefixCache::publish_all(const std::vector<int32_t>& tokens, int32_t computed, const PrefixContext& context,
                              BlockTable& blocks, Cursor& cursor) {
  publish(tokens, computed, context, blocks, cursor);
  const int32_t begin = cursor.blocks * kPageTokens;
  if (computed - begin < kMinCopiedTokens) return;
  Key key{context.describe(begin, computed), slice(tokens, begin, computed)};
  const auto [block, count] = most_alike(cursor, key);
  Block* kept = count == computed - begin ? block : add(cursor, std::move(key), blocks.pages()[cursor.blocks]);
  touch(kept);
}

void PrefixCache::drop(Block* block) {
  by_use_.erase(block->use);
  pages_.unkeep_page(block->page);
  Children& siblings = block->parent == nullptr ? roots_ : block->parent->children;
  siblings.erase(block->place);
}

bool PrefixCache::drop_least_recent() {
  for (auto at = by_use_.rbegin(); at != by_use_.rend(); ++at) {
    Block* block = *at;
    if (!block->children.empty() || pages_.owners(block->page) != 1) continue;
    drop(block);
    return true;
  }
  return false;
}

void PrefixCache::clear() {
  while (drop_least_recent()) {
  }
}

}  // namespace lowrank
