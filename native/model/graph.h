// Records one step of a decoder as ops: what an architecture's file is written in.
#pragma once

#include <optional>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "kv_cache/kv_cache.h"
#include "lora/composition.h"
#include "model/config.h"
#include "model/weights.h"

namespace lowrank {

// Consecutive rows that run with the same adapters.
struct RowSegment {
  int32_t begin;
  int32_t end;
  const Composition* composition;
};

// The rows of one step: tokens of any number of sequences.
struct Batch {
  std::vector<int32_t> tokens;               // [M]
  std::vector<int32_t> positions;            // [M], absolute
  std::vector<const int32_t*> block_tables;  // [M]
  std::vector<RowSegment> segments;          // ascending, disjoint; rows in none run with the base alone
  int32_t rows() const { return static_cast<int32_t>(tokens.size()); }
  void clear();
};

// The backend's memory of a step's intermediate values, for at most `max_rows` rows and `max_logit_rows` rows of logits.
class Scratch {
 public:
  Scratch(const Backend& backend, const ModelConfig& config, int32_t max_rows, int32_t max_logit_rows);
  void reserve_h(int32_t width);  // ranks in sum at one site
  void reserve_own(int32_t rows, int threads);
  void reserve_partials(int64_t floats);
  bool on_host() const { return backend_.shares_host_memory(); }

  int32_t max_rows;
  int32_t max_logit_rows;
  // Of a row of the widest product; rows of narrower ones lie closer together.
  int32_t gate_up_width;  // floats of `own`
  int32_t wide_width;  // floats of `wide`
  int32_t stride;      // elements of `q` and `values`
  int32_t groups;      // scale groups, of the smallest size
  BackendMemory x;        // [max_rows, hidden] float32: the residual stream
  BackendMemory y;        // [max_rows, max(hidden, …)] float32: a block's output before its norm
  BackendMemory wide;     // [max_rows, wide_width] float32: q|k|v, then gate|up
  BackendMemory heads;    // [max_rows, heads * head_dim] float32
  BackendMemory q;        // [max_rows, stride] int8
  BackendMemory scale;    // [max_rows, groups] float32
  BackendMemory compensation;  // [max_rows, groups] int32
  BackendMemory outliers; // [max_rows, kMaxOutliers] float32
  BackendMemory values;   // [max_rows, stride] float32
  BackendMemory angles;   // [ropes][cos, sin][max_rows, head_dim / 2] float32
  BackendMemory own;      // [threads, rows of a block, gate|up] float32, each thread's own
  BackendMemory h;        // [max_rows, h_width] float32
  int32_t h_width = 0;
  BackendMemory partials;  // see AttentionShare
  BackendMemory logits;   // [max_logit_rows, vocabulary] float32
  size_t bytes() const;

 private:
  // Huge pages for what every prefill reads and writes again and again.
  BackendMemory zeros(int64_t bytes, Buffer::Pages pages = Buffer::Pages::kSmall) const;
  const Backend& backend_;
};

// How the rows of a step are shared out: in blocks that each go through the layers on one thread at a time, beside the others, so
// that what lies between two ops stays in that core's cache. 0 rows: every op takes the whole batch.
struct RowBlocks {
  int32_t rows = 0;
  int threads = 1;  // at most so many run the step
};
RowBlocks row_blocks(const Backend& backend, const ModelConfig& config, int32_t rows, int threads);

class Graph {
 public:
  Graph(Program& program, const OpTable& ops, const ModelConfig& config, const Weights& weights, const KvCache& cache,
        Scratch& scratch, const Batch& batch);

  const ModelConfig& config() const { return config_; }

  // x = multiplier * embed_tokens[tokens]; and the angles.
  void embed();
  // The angles of every kind of RoPE at the batch's positions.
  void angles();
  // heads = attention(rope(qkv(norm(x))))
  void attention(int32_t layer);
  // x += o(heads), with the norm after the block where there is one; else the residual is added in o's epilogue.
  void attention_output(int32_t layer);
  // gate|up = gate_up(norm(x))
  void gate_up(int32_t layer);
  // x += down(act(gate) * up)
  void down(int32_t layer);
  // All of the decoder's layers, for so many threads as `blocks` says.
  void layers(const RowBlocks& blocks = {});
  // scratch.values = the input of a product in float32: what calibration looks at. kQkv and kGateUp read x, kDown reads
  // gate|up; kO's input is scratch.heads itself.
  void input_values(int32_t layer, Site site);
  // scratch.values = norm(x), the input of lm_head.
  void head_input_values();
  // logits[i, :] = lm_head(norm(x[rows[i]])), at most scratch.max_logit_rows rows.
  void logits(const std::vector<int32_t>& rows);
  // What is asked of rows of logits, to be recorded behind them. The rows and their results lie in the program until it is
  // cleared.
  const LogitsRow* candidates(const std::vector<LogitsRow>& rows);

 private:
  // wide = q | k | v of norm(x), q and k rotated, k and v in the cache.
  void project_qkv(int32_t layer);
  // heads = attention of wide's q.
  void attend(int32_t layer);
  // From here on, the attention of few rows with long contexts can be shared out evenly over so many threads.
  void share_splits(int threads);
  // The block's first row, of rows of `width` floats.
  float* block_of(const BackendMemory& memory, int64_t width) const { return memory.as<float>() + block_.begin * width; }
  int32_t rows() const { return block_.end - block_.begin; }
  // gate|up of the block: while the batch goes in blocks, each thread's own.
  float* gate_up_values() const { return (rows() < batch_.rows() ? scratch_.own : scratch_.wide).as<float>(); }
  AdapterSegments site_segments(int32_t layer, Site site);
  AdapterSegments describe(const std::vector<RowSegment>& segments, Range rows,
                           const SitePlan& (*plan)(const Composition&, int32_t, Site), int32_t layer, Site site);
  const float* const* norm_rows(int32_t layer, LayerNorm norm);
  Activations activations(const Matrix& matrix);
  MatmulExpandArgs product(const Activations& in, const Matrix& matrix, const BackendVector& bias, const float* residual,
                           float* y, int32_t y_stride, const AdapterSegments& adapters) const;
  void add_block_output(int32_t layer, const Activations& in, Site site, std::optional<LayerNorm> norm,
                        const AdapterSegments& adapters);
  void normalize(int32_t layer, LayerNorm norm, const InputTransform& input, const Activations& out,
                 const AdapterSegments& adapters);
  Activations float_values(int32_t cols);
  const float* gain(int32_t layer, LayerNorm norm) const;

  Program& program_;
  const OpTable& ops_;
  const ModelConfig& config_;
  const Weights& weights_;
  const KvCache& cache_;
  Scratch& scratch_;
  const Batch& batch_;
  Range block_;  // the rows that are being recorded
  AttentionShare share_{};  // see share_splits
};

}  // namespace lowrank
