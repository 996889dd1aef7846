#include "model/scratch.h"

#include <algorithm>

namespace lowrank {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr int32_t kHAlignment = 4;  // so that each row begins at a multiple of 16 bytes

}  // namespace

Scratch::Scratch(const Backend& backend, const ModelConfig& config, int32_t rows, int32_t logit_rows, int32_t context_length)
    : max_rows(rows), max_logit_rows(logit_rows), gate_up_width(config.rows(Site::kGateUp)),
      wide_width(std::max(config.rows(Site::kQkv), gate_up_width)),
      backend_(backend) {
  const int32_t attention = config.cols(Site::kO);
  const int32_t widest = std::max({config.hidden_size, config.intermediate_size, attention});
  const int64_t m = rows;
  stride = round_up(widest, kActivationAlignment);
  groups = scale_groups(widest, kMinScaleGroup);
  x = zeros(kFloat * m * config.hidden_size, Buffer::Pages::kOwn);
  y = zeros(kFloat * m * config.hidden_size);
  wide = zeros(kFloat * m * wide_width, Buffer::Pages::kOwn);
  heads = zeros(kFloat * m * attention, Buffer::Pages::kOwn);
  q = zeros(m * stride, Buffer::Pages::kOwn);
  scale = zeros(kFloat * m * groups);
  compensation = zeros(kFloat * m * groups);
  outliers = zeros(kFloat * m * kMaxOutliers);
  values = zeros(kFloat * m * stride);
  angles = zeros(kFloat * m * config.head_dim * static_cast<int64_t>(config.ropes.size()));
  logits = zeros(kFloat * logit_rows * config.vocabulary_size);
  for (const RopeConfig& rope : config.ropes) rope_frequencies.emplace_back(backend, rope.frequencies_for(context_length));
}

BackendMemory Scratch::zeros(int64_t bytes, Buffer::Pages pages) const {
  return backend_.reserve(static_cast<size_t>(bytes), pages);
}

void Scratch::reserve_h(int32_t width) {
  if (width <= h_width) return;
  h_width = round_up(width, kHAlignment);
  h = zeros(kFloat * max_rows * h_width);
}

void Scratch::reserve_partials(int64_t floats) {
  if (static_cast<size_t>(kFloat * floats) > partials.bytes()) partials = zeros(kFloat * floats);
}

void Scratch::reserve_thread_gate_up(int32_t rows, int threads) {
  const int64_t bytes = kFloat * threads * rows * gate_up_width;
  if (static_cast<size_t>(bytes) > thread_gate_up.bytes()) thread_gate_up = zeros(bytes, Buffer::Pages::kOwn);
}

// Rows begin where those of the widest product would; rows of narrower ones lie closer together from there.
Activations Scratch::activations(const Matrix& matrix, int32_t first_row) const {
  const int64_t first = first_row;
  Activations out;
  out.format = matrix.scheme.activations;
  out.group = matrix.scheme.group;
  out.cols = matrix.cols;
  out.stride = round_up(matrix.cols, kActivationAlignment);
  out.q = q.as<int8_t>() + first * stride;
  out.scale = scale.as<float>() + first * groups;
  out.compensation = compensation.as<int32_t>() + first * groups;
  out.outliers = outliers.as<float>() + first * kMaxOutliers;
  out.values = values.as<float>() + first * stride;
  return out;
}

Activations Scratch::float_activations(int32_t cols) const {
  Activations out;
  out.format = ActivationFormat::kFloat32;
  out.cols = cols;
  out.stride = round_up(cols, kActivationAlignment);
  out.values = values.as<float>();
  return out;
}

size_t Scratch::bytes() const {
  size_t all = 0;
  for (const BackendMemory* memory : {&x, &y, &wide, &heads, &q, &scale, &compensation, &outliers, &values, &angles,
                                      &thread_gate_up, &h, &partials, &logits})
    all += memory->bytes();
  return all;
}

}  // namespace lowrank
