// Rows of logits with what is asked of them, and the memory for what the ops find. Rubbish lies where results belong.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "ops/logits_candidates.h"
#include "ops/op_case.h"

namespace lowrank::test {

class LogitsCase {
 public:
  explicit LogitsCase(int32_t vocabulary) : vocabulary_(vocabulary) {}

  // `row` with its results' memory; what its pointers to inputs point to must outlive this.
  void add(LogitsRow row) {
    const auto groups = static_cast<size_t>(logit_groups(vocabulary_));
    Memory& memory = memory_.emplace_back();
    memory.summary = {-7, 7, -7, -7};
    memory.candidates.assign(static_cast<size_t>(row.candidate_limit), {-7, -7});
    memory.group_peaks.assign(groups, -7);
    memory.sorted_peaks.assign(groups, -7);
    memory.blocks.assign(static_cast<size_t>(logit_blocks(vocabulary_)), {-7, -7, -7, -7});
    row.summary = &memory.summary;
    row.candidates = memory.candidates.data();
    row.group_peaks = memory.group_peaks.data();
    row.sorted_peaks = memory.sorted_peaks.data();
    row.blocks = memory.blocks.data();
    rows_.push_back(row);
  }
  void run(const Backend& backend, int parts) {
    const LogitsCandidatesArgs args{rows_.data(), static_cast<int32_t>(rows_.size()), vocabulary_};
    run_parts(backend.ops().logits_blocks, args, parts);
    run_parts(backend.ops().logits_candidates, args, parts);
  }
  const LogitsRow& row(size_t i) const { return rows_[i]; }

 private:
  struct Memory {
    LogitsSummary summary;
    std::vector<LogitCandidate> candidates;
    std::vector<float> group_peaks, sorted_peaks;
    std::vector<LogitsBlock> blocks;
  };
  int32_t vocabulary_;
  std::vector<LogitsRow> rows_;
  std::deque<Memory> memory_;
};

}  // namespace lowrank::test
