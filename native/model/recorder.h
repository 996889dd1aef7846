// The vocabulary in which an architecture writes its layer. Each word records ops of one step for some of its rows.
#pragma once

#include <cstdint>
#include <optional>

#include "backend/program.h"
#include "decoder/weights.h"
#include "kv_cache/kv_cache.h"
#include "model/batch.h"
#include "model/config.h"
#include "model/scratch.h"

namespace lowrank {

// Is shown the input of products whose matrices are not packed yet: so a model is calibrated while it is loaded.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  // The program, once it has run, leaves in `input` [rows, stride] float32 what the matrix of this site is to be multiplied with. To run
  // it, to clear it, and to pack the matrix before this returns.
  virtual void observe(int32_t layer, Site site, const float* input, int32_t stride) = 0;
};

// What a step is recorded from and into.
struct StepContext {
  Program& program;
  const OpTable& ops;
  const ModelConfig& config;
  const DecoderWeights& weights;
  const KvCache& cache;
  Scratch& scratch;
  const Batch& batch;
};

class Recorder {
 public:
  // `observer` may be null where all matrices are packed.
  explicit Recorder(const StepContext& context, InputObserver* observer = nullptr);

  const ModelConfig& config() const { return at_.config; }
  int32_t layer() const { return layer_; }

  // q | k | v = W norm(x), or W x.
  void project_qkv(std::optional<LayerNorm> before);
  // Norms q and k where the layers have such norms, rotates them where the layer has RoPE, and writes k and v to the cache.
  void rope_write_kv();
  // heads = attention(q) over the cache.
  void attend();
  // x += W heads, or x += norm(W heads); times the configuration's residual multiplier.
  void add_attention(std::optional<LayerNorm> after = std::nullopt);
  // gate | up = W norm(x), or W x.
  void project_gate_up(std::optional<LayerNorm> before);
  // x += W (act(gate) * up), or x += norm(…); likewise.
  void add_feed_forward(std::optional<LayerNorm> after = std::nullopt);

  // For the whole model, not for a layer:
  // The angles of every kind of RoPE at the batch's positions.
  void angles();
  // out = final norm(x), transformed for the head, of `count` rows: x[row_index[i]], or x[i] where it is null.
  void norm_head_input(const int32_t* row_index, int32_t count, const InputTransform& input, const Activations& out,
                       const AdapterSegments& adapters);
  // What is recorded next belongs to this layer.
  void begin_layer(int32_t layer) { layer_ = layer; }
  // What is recorded next takes these rows of the batch alone.
  void set_rows(Range rows) { block_ = rows; }
  // From here on, the attention of few rows with long contexts can be shared out evenly over so many threads.
  void share_attention(int threads);

 private:
  // A product's input, recorded, and what it meets.
  struct Fed {
    Activations in;
    const Matrix& matrix;
    const BackendVector& bias;
    AdapterSegments adapters;
  };
  template <class RecordInput>
  Fed feed(Site site, RecordInput record_input);
  Fed feed_x(Site site, std::optional<LayerNorm> before);
  void add_product(const Fed& fed, std::optional<LayerNorm> after);
  MatmulExpandArgs product(const Fed& fed, const float* residual, float* y, int32_t y_stride) const;
  const float* const* norm_rows(LayerNorm norm);
  const float* gain(LayerNorm norm) const { return weights().norm(norm).data(); }
  const LayerWeights& weights() const { return at_.weights.layers[static_cast<size_t>(layer_)]; }
  void set_parts();

  int32_t rows() const { return block_.end - block_.begin; }
  // The block's first row, of rows of `width` floats.
  float* block_of(const BackendMemory& memory, int64_t width) const { return memory.as<float>() + block_.begin * width; }
  // gate|up of the block: while the batch goes in blocks, each thread's own scratch.
  float* gate_up_values() const { return (rows() < at_.batch.rows() ? at_.scratch.thread_gate_up : at_.scratch.wide).as<float>(); }

  const StepContext at_;
  InputObserver* const observer_;
  int32_t layer_ = 0;
  Range block_;             // the rows that are being recorded
  AttentionShare share_{};  // see share_attention
};

}  // namespace lowrank
