#include "cuda/arena.h"

#include <algorithm>
#include <iterator>

namespace lowrank::cuda {

Arena::~Arena() {
  for (const auto& [begin, block] : blocks_) source_.give_back(begin);
}

void* Arena::take(size_t bytes) {
  const size_t size = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (size <= block_bytes_ / 2)
    for (auto& [begin, block] : blocks_)
      if (void* piece = take_gap(begin, block, size)) return piece;
  uint8_t* begin = nullptr;
  Block& block = add_block(size <= block_bytes_ / 2 ? block_bytes_ : size, begin);
  return take_gap(begin, block, size);
}

// The first gap that is large enough, or null.
void* Arena::take_gap(uint8_t* begin, Block& block, size_t bytes) {
  for (auto gap = block.gaps.begin(); gap != block.gaps.end(); ++gap) {
    const auto [offset, size] = *gap;
    if (size < bytes) continue;
    pieces_.emplace(begin + offset, Piece{begin, bytes});
    block.gaps.erase(gap);
    if (size > bytes) block.gaps.emplace(offset + bytes, size - bytes);
    block.used += bytes;
    used_ += bytes;
    return begin + offset;
  }
  return nullptr;
}

Arena::Block& Arena::add_block(size_t bytes, uint8_t*& begin) {
  begin = static_cast<uint8_t*>(source_.take(bytes));
  reserved_ += bytes;
  return blocks_.emplace(begin, Block{bytes, 0, {{0, bytes}}}).first->second;
}

bool Arena::give_back(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto piece = pieces_.find(memory);
  if (piece == pieces_.end()) return false;
  uint8_t* const begin = piece->second.block;
  const size_t bytes = piece->second.bytes;
  pieces_.erase(piece);
  used_ -= bytes;
  Block& block = blocks_.at(begin);
  block.used -= bytes;
  if (block.used == 0) {
    reserved_ -= block.bytes;
    blocks_.erase(begin);
    source_.give_back(begin);
    return true;
  }
  auto gap = block.gaps.emplace(static_cast<size_t>(static_cast<uint8_t*>(memory) - begin), bytes).first;
  if (const auto next = std::next(gap); next != block.gaps.end() && gap->first + gap->second == next->first) {
    gap->second += next->second;
    block.gaps.erase(next);
  }
  if (gap != block.gaps.begin())
    if (const auto before = std::prev(gap); before->first + before->second == gap->first) {
      before->second += gap->second;
      block.gaps.erase(gap);
    }
  return true;
}

size_t Arena::reserved_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reserved_;
}

size_t Arena::used_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return used_;
}

}  // namespace lowrank::cuda
