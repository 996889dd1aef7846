// Records one step of a decoder as ops: the embedding, the layers, which the architecture writes, and the logits.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "model/recorder.h"

namespace lowrank {

// How the rows of a step are shared out: in blocks that each go through the layers on one thread at a time, beside the others, so
// that what lies between two ops stays in that core's cache. 0 rows: every op takes the whole batch.
struct RowBlocks {
  int32_t rows = 0;
  int threads = 1;  // at most so many run the step
};
RowBlocks row_blocks(const Backend& backend, const ModelConfig& config, int32_t rows, int threads);

class DecoderGraph {
 public:
  DecoderGraph(Program& program, const OpTable& ops, const ModelConfig& config, const DecoderWeights& weights, const KvCache& cache,
               Scratch& scratch, const Batch& batch)
      : at_{program, ops, config, weights, cache, scratch, batch}, recorder_(at_) {}

  // x = multiplier * embed_tokens[tokens]; and the angles.
  void embed();
  // All of the decoder's layers, for so many threads as `blocks` says.
  void layers(const RowBlocks& blocks = {});
  // logits[i, :] = lm_head(norm(x[rows[i]])), at most scratch.max_logit_rows rows.
  void logits(const std::vector<int32_t>& rows);
  // What is asked of rows of logits, to be recorded behind them. The rows and their results lie in the program until it is
  // cleared.
  const LogitsRow* candidates(const std::vector<LogitsRow>& rows);

 private:
  void layers_in_blocks(const RowBlocks& blocks);
  // The batch's segments, as seen from the chosen rows.
  std::vector<RowSegment> segments_of(const int32_t* rows, int32_t count) const;

  const StepContext at_;
  Recorder recorder_;
};

}  // namespace lowrank
