// What the rows of the quantise ops are made from: one source an op. See ops/quantize_shrink.h.
#pragma once

#include <cmath>

#include "cuda/row_norm.h"
#include "device/params/quantize_shrink.h"

namespace lowrank::cuda {

// What a block knows of one of its rows.
struct QuantizeRow {
  const float* x;
  const float* gain;                  // of a norm
  const device::ShrinkTerm* shrink;   // [shrink_count]
  float factor;                       // of a norm: 1 / sqrt(mean(x^2) + epsilon)
  int32_t shrink_count;
  int32_t segment;                    // or -1
};

struct PlainSource {
  static constexpr bool kNorm = false;
  const float* x;
  int32_t stride;

  LOWRANK_DEVICE void begin(QuantizeRow& row, int32_t m, const float*) const { row.x = x + int64_t{m} * stride; }
  // u[k … k + 3], 0 from `cols` on.
  LOWRANK_DEVICE float4 load(const QuantizeRow& row, int32_t k, int32_t cols) const { return load_four(row.x, k, cols); }
};

struct NormSource {
  static constexpr bool kNorm = true;
  const float* x;
  const int32_t* row_index;
  const float* gain;
  int32_t stride;
  float epsilon;

  LOWRANK_DEVICE void begin(QuantizeRow& row, int32_t m, const float* own_gain) const {
    row.x = x + int64_t{row_index == nullptr ? m : row_index[m]} * stride;
    row.gain = own_gain == nullptr ? gain : own_gain;
  }
  LOWRANK_DEVICE float4 load(const QuantizeRow& row, int32_t k, int32_t cols) const {
    const float4 v = load_four(row.x, k, cols);
    const float4 g = load_four(row.gain, k, cols);
    return make_float4(v.x * row.factor * g.x, v.y * row.factor * g.y, v.z * row.factor * g.z, v.w * row.factor * g.w);
  }
};

template <Activation kActivation>
LOWRANK_DEVICE float activate(float x) {
  if constexpr (kActivation == Activation::kSilu) return x / (1.0f + expf(-x));
  // 0.5 x (1 + tanh z) = x / (1 + e^-2z)
  constexpr float kMinusTwoSqrtTwoOverPi = -1.5957691216057308f;
  return x / (1.0f + expf(kMinusTwoSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

template <Activation kActivation>
struct GluSource {
  static constexpr bool kNorm = false;
  const float* gate_up;
  int32_t stride;

  LOWRANK_DEVICE void begin(QuantizeRow& row, int32_t m, const float*) const { row.x = gate_up + int64_t{m} * stride; }
  LOWRANK_DEVICE float4 load(const QuantizeRow& row, int32_t k, int32_t cols) const {
    const float4 gate = load_four(row.x, k, cols);
    const float4 up = load_four(row.x + cols, k, cols);
    return make_float4(activate<kActivation>(gate.x) * up.x, activate<kActivation>(gate.y) * up.y,
                       activate<kActivation>(gate.z) * up.z, activate<kActivation>(gate.w) * up.w);
  }
};

}  // namespace lowrank::cuda
