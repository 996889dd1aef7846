// The backend's memory of a step's intermediate values.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "backend/backend_vector.h"
#include "model/config.h"

namespace lowrank {

class Scratch {
 public:
  // For at most `max_rows` rows and `max_logit_rows` rows of logits, at positions below `context_length`.
  Scratch(const Backend& backend, const ModelConfig& config, int32_t max_rows, int32_t max_logit_rows, int32_t context_length);
  void reserve_h(int32_t width);  // ranks in sum at one site
  void reserve_thread_gate_up(int32_t rows, int threads);
  void reserve_partials(int64_t floats);
  // Where the input of a product with `matrix` goes, of the rows from `first_row` on.
  Activations activations(const Matrix& matrix, int32_t first_row) const;
  // The same in float32, whatever the matrix wants.
  Activations float_activations(int32_t cols) const;
  bool on_host() const { return backend_.shares_host_memory(); }
  size_t bytes() const;

  int32_t max_rows;
  int32_t max_logit_rows;
  // Of a row of the widest product; rows of narrower ones lie closer together.
  int32_t gate_up_width;  // floats of `thread_gate_up`
  int32_t wide_width;     // floats of `wide`
  int32_t stride;         // elements of `q` and `values`
  int32_t groups;         // scale groups, of the smallest size
  BackendMemory x;        // [max_rows, hidden] float32: the residual stream
  BackendMemory y;        // [max_rows, hidden] float32: a block's output before its norm
  BackendMemory wide;     // [max_rows, wide_width] float32: q|k|v, then gate|up
  BackendMemory heads;    // [max_rows, heads * head_dim] float32
  BackendMemory q;        // [max_rows, stride] int8
  BackendMemory scale;    // [max_rows, groups] float32
  BackendMemory compensation;    // [max_rows, groups] int32
  BackendMemory outliers;        // [max_rows, kMaxOutliers] float32
  BackendMemory values;          // [max_rows, stride] float32
  BackendMemory angles;          // [ropes][cos, sin][max_rows, head_dim / 2] float32
  BackendMemory thread_gate_up;  // [threads, rows of a block, gate_up_width] float32
  BackendMemory h;               // [max_rows, h_width] float32
  int32_t h_width = 0;
  BackendMemory partials;  // see AttentionShare
  BackendMemory logits;    // [max_logit_rows, vocabulary] float32
  std::vector<BackendVector> rope_frequencies;  // of each of ModelConfig::ropes, [head_dim / 2]

 private:
  // Huge pages for what every prefill reads and writes again and again.
  BackendMemory zeros(int64_t bytes, Buffer::Pages pages = Buffer::Pages::kSmall) const;
  const Backend& backend_;
};

}  // namespace lowrank
