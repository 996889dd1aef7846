// Finds the input transform of every int8 product while a model is being loaded: a few tokens run through the layers as the architecture
// records them, and each matrix is packed when the recorder comes to it and its input is known. Of a product's input channels, those with the largest rms(x) rms(w) become its outliers, and the others
// are smoothed by sqrt(rms(w) / rms(x)), so that input and weights share the difficulty (SmoothQuant with alpha 0.5,
// arXiv 2211.10438, on root mean squares).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "kv_cache/kv_cache.h"
#include "model/recorder.h"
#include "model/weights.h"

namespace lowrank {

class Calibration final : private InputObserver {
 public:
  // Packs the matrix of a site for `input_rms` [cols], the root mean square of each input channel.
  using Pack = std::function<void(Site site, const std::vector<float>& input_rms)>;

  // `ids`: tokens of some text, each at least 0; where there are none, some of the frequent ids serve. `read_embedding` reads a
  // row of the embedding table, [hidden] float32. `weights` is the model that is being loaded, packed by `backend`, whose ops use
  // the host's memory.
  Calibration(const ModelConfig& config, const DecoderWeights& weights, const Backend& backend, int threads, std::vector<int32_t> ids,
              const std::function<void(int32_t row, float* out)>& read_embedding);

  // Runs the tokens through the next layer, whose norms must be there, and calls `pack` for each product as the layer comes to it. The
  // layer's matrices must last until the next call of this or of `head_input_rms` is over, which runs what follows the last of them.
  void layer(int32_t index, const Pack& pack);
  // Root mean square of each channel of the head's input, behind the last layer. The final norm must be there.
  std::vector<float> head_input_rms();

  // Finds the outliers and the smoothing that the spec's scheme asks for, from the input's rms and the weights themselves.
  static void choose_transform(const std::vector<float>& input_rms, const RowReader& read, MatrixSpec& spec);

 private:
  void observe(int32_t layer, Site site, const float* input, int32_t stride) override;
  StepContext context() { return {program_, backend_.ops(), config_, weights_, cache_, scratch_, batch_}; }
  void run();
  std::vector<float> column_rms(const float* rows, int32_t cols, int32_t stride) const;
  int32_t tokens() const { return static_cast<int32_t>(ids_.size()); }

  const ModelConfig& config_;
  const DecoderWeights& weights_;
  const Backend& backend_;
  const int threads_;
  const std::vector<int32_t> ids_;
  Program program_;
  Scratch scratch_;
  KvCache cache_;
  BlockTable blocks_;
  Batch batch_;
  const Pack* pack_ = nullptr;  // of the layer that is being recorded
};

}  // namespace lowrank
