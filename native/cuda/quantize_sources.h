// What the rows of the quantise ops are made from: one source an op. See ops/quantize_shrink.h. A source fetches what four
// channels of u need, and makes them from it later, so that the memory's latency passes behind other work.
#pragma once

#include <cmath>

#include "cuda/ptx.h"
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
  // For u[k … k + 3], 0 from `cols` on.
  using Fetched = float4;
  LOWRANK_DEVICE Fetched fetch(const QuantizeRow& row, int32_t k, int32_t cols) const { return load_four(row.x, k, cols); }
  LOWRANK_DEVICE float4 make(const QuantizeRow&, const Fetched& fetched) const { return fetched; }
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
  struct Fetched {
    float4 x;
    float4 gain;
  };
  LOWRANK_DEVICE Fetched fetch(const QuantizeRow& row, int32_t k, int32_t cols) const {
    return {load_four(row.x, k, cols), load_four(row.gain, k, cols)};
  }
  LOWRANK_DEVICE float4 make(const QuantizeRow& row, const Fetched& fetched) const {
    const float4& v = fetched.x;
    const float4& g = fetched.gain;
    return make_float4(v.x * row.factor * g.x, v.y * row.factor * g.y, v.z * row.factor * g.z, v.w * row.factor * g.w);
  }
};

template <Activation kActivation>
LOWRANK_DEVICE float activate(float x) {
  if constexpr (kActivation == Activation::kSilu) return x * ptx::reciprocal_approximate(1.0f + expf(-x));
  // 0.5 x (1 + tanh z) = x / (1 + e^-2z)
  constexpr float kMinusTwoSqrtTwoOverPi = -1.5957691216057308f;
  return x * ptx::reciprocal_approximate(1.0f + expf(kMinusTwoSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

template <Activation kActivation>
struct GluSource {
  static constexpr bool kNorm = false;
  const float* gate_up;
  int32_t stride;

  LOWRANK_DEVICE void begin(QuantizeRow& row, int32_t m, const float*) const { row.x = gate_up + int64_t{m} * stride; }
  struct Fetched {
    float4 gate;
    float4 up;
  };
  LOWRANK_DEVICE Fetched fetch(const QuantizeRow& row, int32_t k, int32_t cols) const {
    return {load_four(row.x, k, cols), load_four(row.x + cols, k, cols)};
  }
  LOWRANK_DEVICE float4 make(const QuantizeRow&, const Fetched& fetched) const {
    const auto& [gate, up] = fetched;
    return make_float4(activate<kActivation>(gate.x) * up.x, activate<kActivation>(gate.y) * up.y,
                       activate<kActivation>(gate.z) * up.z, activate<kActivation>(gate.w) * up.w);
  }
};

}  // namespace lowrank::cuda
