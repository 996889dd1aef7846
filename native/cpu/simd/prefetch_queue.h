// Spreads prefetches over a loop: a burst of more lines than the core has line-fill buffers holds up all that follows it.
#pragma once

#include "cpu/simd/prefetch.h"

namespace lowrank::cpu {

class PrefetchQueue {
 public:
  size_t lines() const { return lines_; }

  // Of more ranges than it holds, the last are not prefetched.
  void add(const void* first, size_t bytes) { add(first, bytes, false); }
  // Memory that will be written.
  void add_output(const void* first, size_t bytes) { add(first, bytes, true); }

  // Prefetches the next `count` lines, or as many as there are, into L2.
  LOWRANK_INLINE void prefetch_next(size_t count) {
    if (lines_ != 0) take(count);
  }

  // Prefetches all the others, into L1.
  void prefetch_rest() {
    for (; begin_ != end_; ++begin_)
      for (uint32_t i = 0; i < ranges_[begin_].lines; ++i) prefetch(ranges_[begin_].at + i * kLine);
    lines_ = 0;
    begin_ = end_ = 0;
  }

 private:
  static constexpr size_t kLine = 64;
  static constexpr uint32_t kRanges = 48;
  struct Range {
    const uint8_t* at;
    uint32_t lines;
    bool output;
  };

  void add(const void* first, size_t bytes, bool output) {
    if (bytes == 0 || end_ == kRanges) return;
    const auto lines = static_cast<uint32_t>((bytes + kLine - 1) / kLine);
    ranges_[end_++] = {static_cast<const uint8_t*>(first), lines, output};
    lines_ += lines;
  }

  void take(size_t count) {
    uint32_t left = count < lines_ ? static_cast<uint32_t>(count) : static_cast<uint32_t>(lines_);
    lines_ -= left;
    while (left != 0) {
      Range& range = ranges_[begin_];
      const uint32_t now = left < range.lines ? left : range.lines;
      const uint8_t* const end = range.at + now * kLine;
      if (range.output)
        for (const uint8_t* line = range.at; line != end; line += kLine) prefetch_output(line);
      else
        for (const uint8_t* line = range.at; line != end; line += kLine) prefetch_far(line);
      range.at = end;
      range.lines -= now;
      if (range.lines == 0) ++begin_;
      left -= now;
    }
    if (lines_ == 0) begin_ = end_ = 0;
  }

  Range ranges_[kRanges];
  uint32_t begin_ = 0, end_ = 0;
  size_t lines_ = 0;
};

}  // namespace lowrank::cpu
