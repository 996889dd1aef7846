// Memory taken from a device in large blocks and handed out in pieces: taking it from the driver costs much more, and giving it
// back waits for the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <unordered_map>

namespace lowrank::cuda {

class Arena {
 public:
  struct Source {
    std::function<void*(size_t bytes)> take;  // throws where there is none
    std::function<void(void*)> give_back;
  };
  // Pieces above half of `block_bytes` are blocks of their own; with 0 all are.
  Arena(Source source, size_t block_bytes) : source_(std::move(source)), block_bytes_(block_bytes) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  static constexpr size_t kAlignment = 256;

  void* take(size_t bytes);
  // False where `memory` is no piece of this arena.
  bool give_back(void* memory);

  size_t reserved_bytes() const;  // of all blocks
  size_t used_bytes() const;      // of all pieces

 private:
  struct Block {
    size_t bytes;
    size_t used;
    std::map<size_t, size_t> gaps;  // offset to bytes; neighbours are joined
  };
  struct Piece {
    uint8_t* block;
    size_t bytes;
  };
  void* take_gap(uint8_t* begin, Block& block, size_t bytes);
  Block& add_block(size_t bytes, uint8_t*& begin);

  Source source_;
  size_t block_bytes_;
  mutable std::mutex mutex_;
  std::map<uint8_t*, Block> blocks_;
  std::unordered_map<void*, Piece> pieces_;
  size_t reserved_ = 0;
  size_t used_ = 0;
};

}  // namespace lowrank::cuda
