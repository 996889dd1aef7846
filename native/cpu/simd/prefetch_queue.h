// Memory to ask for a little at a time, between other work: a burst of more lines than the core can have under way holds up all
// that follows it.
#pragma once

#include "cpu/simd/prefetch.h"

namespace lowrank::cpu {

class PrefetchQueue {
 public:
  size_t lines() const { return lines_; }

  // Of more ranges than it holds, the last are not asked for.
  void add(const void* first, size_t bytes) { add({static_cast<const uint8_t*>(first), bytes, false}); }
  // Memory that will be written.
  void add_output(const void* first, size_t bytes) { add({static_cast<const uint8_t*>(first), bytes, true}); }

  // Asks for the next `count` lines, or as many as there are, which are not wanted soon.
  LOWRANK_INLINE void ask(size_t count) {
    if (lines_ != 0) take(count);
  }

  // Asks for all the others, into the first cache.
  void ask_for_rest() {
    for (; begin_ != end_; ++begin_)
      for (size_t byte = 0; byte < ranges_[begin_].bytes; byte += kLine) prefetch(ranges_[begin_].at + byte);
    lines_ = begin_ = end_ = 0;
  }

 private:
  static constexpr size_t kLine = 64;
  static constexpr size_t kRanges = 48;
  struct Range {
    const uint8_t* at;
    size_t bytes;
    bool output;
  };

  void add(const Range& range) {
    if (range.bytes == 0 || end_ == kRanges) return;
    ranges_[end_++] = range;
    lines_ += (range.bytes + kLine - 1) / kLine;
  }

  void take(size_t count) {
    for (; count != 0 && lines_ != 0; --count, --lines_) {
      Range& range = ranges_[begin_];
      if (range.output)
        prefetch_output(range.at);
      else
        prefetch_far(range.at);
      range.at += kLine;
      range.bytes -= range.bytes < kLine ? range.bytes : kLine;
      if (range.bytes == 0) ++begin_;
    }
    if (lines_ == 0) begin_ = end_ = 0;
  }

  Range ranges_[kRanges];
  size_t begin_ = 0, end_ = 0;
  size_t lines_ = 0;
};

}  // namespace lowrank::cpu
