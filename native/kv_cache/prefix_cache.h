// Keys and values of texts that were computed before, shared by the requests that begin with the same tokens.
//
// A tree of blocks of kPageTokens tokens. What a block holds depends on all tokens before it and on what each ran with, so a
// block is found below its parent by its tokens and by a text that says what they ran with: both are compared as they are,
// not by a hash, so a hit is never a collision. Blocks that no sequence uses are dropped, the least recently used first,
// when pages are wanted.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kv_cache/kv_cache.h"

namespace lowrank {

// What the positions of a sequence run with, as far as keys and values depend on it.
struct PrefixContext {
  struct Span {
    int32_t begin;
    std::string adapters;  // contents and scales; empty: the base alone
  };
  std::string salt;         // requests with different salts share nothing
  std::vector<Span> spans;  // ascending begin, the first at 0

  // What tells block [begin, end) from others with the same parent and tokens: the salt and the adapters of the first
  // block, and each change of adapters inside the block.
  std::string describe(int32_t begin, int32_t end) const;
};

class PrefixCache {
 public:
  struct Block;

  // How far a sequence's blocks are in the tree. Its pages are those of the tree, so none of them can be dropped.
  struct Cursor {
    Block* block = nullptr;  // null: none
    int32_t blocks = 0;
  };

  explicit PrefixCache(KvCache& pages);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // Fills an empty block table with what is known of tokens [0, limit) and returns how many that are: whole blocks are
  // shared, and the beginning of a further one is copied.
  int32_t match(const std::vector<int32_t>& tokens, int32_t limit, const PrefixContext& context, BlockTable& blocks,
                Cursor& cursor);

  // Whole blocks of tokens [0, limit) that are here and that some sequence uses now: sharing them costs no page.
  int32_t shared_blocks(const std::vector<int32_t>& tokens, int32_t limit, const PrefixContext& context) const;

  // Takes in the whole blocks of tokens [0, computed) that are not in the tree yet. Where a block is there already, the
  // sequence goes on with that page and gives up its own.
  void publish(const std::vector<int32_t>& tokens, int32_t computed, const PrefixContext& context, BlockTable& blocks,
               Cursor& cursor);
  // For a sequence that ends: the part of a block behind the whole ones, too.
  void publish_all(const std::vector<int32_t>& tokens, int32_t computed, const PrefixContext& context, BlockTable& blocks,
                   Cursor& cursor);

  // Forgets everything that no sequence uses.
  void clear();
  int64_t blocks() const { return static_cast<int64_t>(by_use_.size()); }

 private:
  struct Key {
    std::string context;
    std::vector<int32_t> tokens;
    auto operator<=>(const Key&) const = default;
  };
  using Children = std::map<Key, std::unique_ptr<Block>>;

  Children& children_of(const Cursor& cursor);
  void touch(Block* block);
  Block* add(const Cursor& at, Key key, int32_t page);
  // The block below `cursor` that shares most tokens with the key, and how many.
  std::pair<Block*, int32_t> most_alike(const Cursor& cursor, const Key& key);
  void drop(Block* block);
  bool drop_least_recent();

  KvCache& pages_;
  Children roots_;
  std::list<Block*> by_use_;  // the most recent first; a block comes after its parent
};

struct PrefixCache::Block {
  Block* parent;
  Children::iterator place;  // among its siblings
  Children children;
  int32_t page;
  std::list<Block*>::iterator use;
};

}  // namespace lowrank
