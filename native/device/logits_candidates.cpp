#include "device/params/logits_candidates.h"

#include "device/ops.h"
#include "device/recorder.h"

namespace lowrank::device {
namespace {

// Staged by the first of the two ops, for both. Rooms whose size follows from what is asked of the rows come last: no launch has
// their addresses among its parameters.
const LogitsRow* stage_rows(Recorder& recorder, const LogitsCandidatesArgs& args) {
  const auto rows = static_cast<size_t>(args.row_count);
  const auto vocabulary = static_cast<size_t>(args.vocabulary);
  const auto groups = static_cast<size_t>(logit_groups(args.vocabulary));
  const auto blocks = static_cast<size_t>(logit_blocks(args.vocabulary));
  const Staged<LogitsRow> staged = recorder.stage_once<LogitsRow>(args.rows, rows);
  if (staged.host == nullptr) return staged.device;
  for (size_t i = 0; i < rows; ++i) {
    const lowrank::LogitsRow& row = args.rows[i];
    LogitsRow& to = staged.host[i];
    to = {};
    to.logits = row.logits;
    if (row.adjustment_count > 0)
      to.adjustments = recorder.upload(row.adjustments, static_cast<size_t>(row.adjustment_count));
    to.allowed = recorder.upload(row.allowed, vocabulary);
    to.summary = recorder.download(row.summary, 1);
    if (row.candidate_limit > 0) to.candidates = recorder.download(row.candidates, static_cast<size_t>(row.candidate_limit));
    to.group_peaks = recorder.download(row.group_peaks, groups);
    to.blocks = recorder.download(row.blocks, blocks);
    to.factor = row.factor;
    to.adjustment_count = row.adjustment_count;
    to.candidate_limit = row.candidate_limit;
  }
  return staged.device;
}

}  // namespace

void logits_blocks(const LogitsCandidatesArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const LogitsRow* rows = stage_rows(recorder, args);
  recorder.add(OpCode::kLogitsBlocks, LogitsBlocksParams{rows, args.row_count, args.vocabulary});
}

// Of rows that logits_blocks has had in this step.
void logits_candidates(const LogitsCandidatesArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const LogitsRow* rows = stage_rows(recorder, args);
  recorder.add(OpCode::kLogitsCandidates, LogitsCandidatesParams{rows, args.row_count, args.vocabulary});
}

}  // namespace lowrank::device
