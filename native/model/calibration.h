// Finds the input transform of every int8 product while a model is being loaded: a few tokens run through the layers that
// are packed already; of a product's input channels, those with the largest rms(x) rms(w) become its outliers, and the others
// are smoothed by sqrt(rms(w) / rms(x)), so that input and weights share the difficulty (SmoothQuant with alpha 0.5,
// arXiv 2211.10438, on root mean squares).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "backend/program.h"
#include "kv_cache/kv_cache.h"
#include "model/graph.h"
#include "model/weights.h"

namespace lowrank {

class Calibration {
 public:
  // `ids`: tokens of some text, each at least 0; where there are none, some of the frequent ids serve. `read_embedding` reads a
  // row of the embedding table, [hidden] float32. `weights` is the model that is being loaded, packed by `backend`, whose ops use
  // the host's memory: at each call below, all that comes before the product asked for must be there, from the last product of
  // the layer before on.
  Calibration(const ModelConfig& config, const Weights& weights, const Backend& backend, int threads, std::vector<int32_t> ids,
              const std::function<void(int32_t row, float* out)>& read_embedding);

  // Root mean square of each input channel, [cols]. To be called in the order of the graph: kQkv, kO, kGateUp, kDown of
  // each layer, then the head.
  std::vector<float> input_rms(int32_t layer, Site site);
  std::vector<float> head_input_rms();

  // Finds the outliers and the smoothing that the spec's scheme asks for, from the input's rms and the weights themselves.
  static void choose_transform(const std::vector<float>& input_rms, const RowReader& read, MatrixSpec& spec);

 private:
  template <class Record>
  void run(Record record);
  std::vector<float> column_rms(const float* rows, int32_t cols, int32_t stride) const;
  int32_t tokens() const { return static_cast<int32_t>(ids_.size()); }

  const ModelConfig& config_;
  const Weights& weights_;
  const Backend& backend_;
  const int threads_;
  const std::vector<int32_t> ids_;
  Program program_;
  Scratch scratch_;
  KvCache cache_;
  BlockTable blocks_;
  Batch batch_;
};

}  // namespace lowrank
