// The order in which a part of a quantise op reads the A of its rows' adapters, so that what comes next can be prefetched in time:
// A is too short for the hardware to follow at full speed.
#pragma once

#include "cpu/layout.h"
#include "cpu/simd/force_inline.h"
#include "ops/types.h"

namespace lowrank::cpu {

// Columns of u that a block of rows holds at a time.
inline constexpr int32_t kQuantizeChunk = 4096;

// The `index`-th of `count` parts that make the same rows.
struct RowShare {
  int index = 0;
  int count = 1;
};

// The ranks of a term that a part computes: whole groups of kFactorRanks.
inline Range own_ranks(const ShrinkTerm& term, RowShare share) {
  return split(term.a->rank, kFactorRanks, share.index, share.count);
}

// Walks through the groups of ranks: those of one segment after the other; of each, one chunk of K after the other; of each, one
// term after the other.
class ShrinkOrder {
 public:
  // At the first segment that has any of `rows`.
  ShrinkOrder(const AdapterSegments& adapters, Range rows, int32_t cols, RowShare share)
      : segment_(adapters.rows), end_(adapters.rows + adapters.count), cols_(cols), share_(share) {
    while (segment_ != end_ && segment_->row_end <= rows.begin) ++segment_;
    while (end_ != segment_ && (end_ - 1)->row_begin >= rows.end) --end_;
  }

  // Whether a group of the segment, or of one behind it, was given already.
  bool has_begun(const AdapterRows* segment) const {
    return segment_ > segment || (segment_ == segment && (rank_ != kNone || term_ != 0 || k_ != 0));
  }
  void go_to(const AdapterRows* segment) {
    segment_ = segment;
    k_ = term_ = 0;
    rank_ = kNone;
  }

  // Where the next group's part of the chunk begins; null after the last.
  const uint8_t* next() {
    for (; segment_ != end_; go_to(segment_ + 1))
      for (; k_ < cols_; k_ += kQuantizeChunk, term_ = 0)
        for (; term_ < segment_->shrink_count; ++term_, rank_ = kNone) {
          const ShrinkTerm& term = segment_->shrink[term_];
          const auto& a = static_cast<const PackedFactor&>(*term.a);
          const Range own = own_ranks(term, share_);
          const int32_t rank = rank_ == kNone ? own.begin : rank_;
          if (rank >= own.end) continue;
          rank_ = rank + kFactorRanks;
          return a.data.as<uint8_t>() + factor_a_offset(a, rank, k_) * element_bytes(a.dtype);
        }
    return nullptr;
  }

 private:
  static constexpr int32_t kNone = -1;
  const AdapterRows* segment_;
  const AdapterRows* end_;
  int32_t cols_;
  RowShare share_;
  int32_t k_ = 0, term_ = 0, rank_ = kNone;
};

}  // namespace lowrank::cpu
