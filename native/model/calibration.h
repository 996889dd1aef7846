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
  // `read_embedding` reads a row of the embedding table, [hidden] float32. `weights` is the model that is being loaded: at
  // each call below, all that comes before the product asked for must be packed.
  Calibration(const ModelConfig& config, const Weights& weights, const Backend& backend, int threads,
              const std::function<void(int32_t row, float* out)>& read_embedding);

  // Root mean square of each input channel, [cols]. To be called in the order of the graph: kQkv, kO, kGateUp, kDown of
  // each layer, then the head.
  std::vector<float> input_rms(int32_t layer, Site site);
  std::vector<float> head_input_rms();

  // Sets rotation, outliers and smoothing of `spec`, from the input's rms and the weights themselves.
  static void choose_transform(const std::vector<float>& input_rms, const RowReader& read, MatrixSpec& spec);

 private:
  template <class Record>
  void run(Record record);
  std::vector<float> column_rms(const float* rows, int32_t cols, int32_t stride) const;

  const ModelConfig& config_;
  const Weights& weights_;
  const Backend& backend_;
  const int threads_;
  Program program_;
  Scratch scratch_;
  KvCache cache_;
  BlockTable blocks_;
  Batch batch_;
};

}  // namespace lowrank
