#include "cuda/arena.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

// Blocks of the host's memory, counted.
struct Source {
  std::map<void*, size_t> blocks;
  size_t taken = 0;
  cuda::Arena::Source functions() {
    return {[this](size_t bytes) {
              void* block = std::aligned_alloc(cuda::Arena::kAlignment, bytes);
              blocks.emplace(block, bytes);
              ++taken;
              return block;
            },
            [this](void* block) {
              CHECK_EQ(blocks.erase(block), size_t{1});
              std::free(block);
            }};
  }
};

constexpr size_t kBlock = 64 << 10;

}  // namespace

TEST("cuda/arena: random pieces never overlap, and all memory goes back") {
  Source source;
  {
    cuda::Arena arena(source.functions(), kBlock);
    Random random(5);
    std::map<uint8_t*, size_t> pieces;
    size_t used = 0;
    for (int i = 0; i < 4000; ++i) {
      if (pieces.empty() || random.integer(0, 2) != 0) {
        const auto bytes = static_cast<size_t>(random.integer(1, random.integer(0, 20) == 0 ? 100000 : 5000));
        auto* piece = static_cast<uint8_t*>(arena.take(bytes));
        CHECK_EQ(reinterpret_cast<uintptr_t>(piece) % cuda::Arena::kAlignment, uintptr_t{0});
        const auto next = pieces.lower_bound(piece);
        CHECK(next == pieces.end() || piece + bytes <= next->first);
        CHECK(next == pieces.begin() || std::prev(next)->first + std::prev(next)->second <= piece);
        pieces.emplace(piece, bytes);
        used += (bytes + cuda::Arena::kAlignment - 1) / cuda::Arena::kAlignment * cuda::Arena::kAlignment;
      } else {
        const auto one = std::next(pieces.begin(), random.integer(0, static_cast<int32_t>(pieces.size()) - 1));
        used -= (one->second + cuda::Arena::kAlignment - 1) / cuda::Arena::kAlignment * cuda::Arena::kAlignment;
        CHECK(arena.give_back(one->first));
        pieces.erase(one);
      }
      CHECK_EQ(arena.used_bytes(), used);
      CHECK(arena.reserved_bytes() >= used);
    }
    CHECK(source.taken < 1500);  // far fewer blocks than pieces
    for (const auto& [piece, bytes] : pieces) arena.give_back(piece);
    CHECK_EQ(arena.reserved_bytes(), size_t{0});
    CHECK(source.blocks.empty());
  }
}

TEST("cuda/arena: neighbouring gaps are one again") {
  Source source;
  cuda::Arena arena(source.functions(), kBlock);
  std::vector<void*> pieces;
  for (int i = 0; i < 8; ++i) pieces.push_back(arena.take(kBlock / 8));
  for (const int i : {1, 3, 2, 6, 5, 4}) CHECK(arena.give_back(pieces[static_cast<size_t>(i)]));
  void* whole = arena.take(kBlock / 2);
  CHECK(whole == pieces[1]);
  CHECK_EQ(source.taken, size_t{1});
}

TEST("cuda/arena: what is no piece is refused, and large pieces are blocks of their own") {
  Source source;
  cuda::Arena arena(source.functions(), kBlock);
  int local = 0;
  CHECK(!arena.give_back(&local));
  void* large = arena.take(kBlock);
  CHECK(!arena.give_back(static_cast<uint8_t*>(large) + 256));
  CHECK(arena.give_back(large));
  CHECK(!arena.give_back(large));
  CHECK(source.blocks.empty());
}

TEST("cuda/arena: what is still out goes back with the arena") {
  Source source;
  { cuda::Arena(source.functions(), kBlock).take(10); }
  CHECK(source.blocks.empty());
  CHECK_EQ(source.taken, size_t{1});
}
