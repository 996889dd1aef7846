// The rows that the quantise ops read: normalised, plain, and gated. See quantize_shrink.h.
#pragma once

#include "cpu/simd/exponential.h"
#include "cpu/simd/quantize_shrink.h"
#include "cpu/simd/sum_of_squares.h"

namespace lowrank::cpu {

// u = x / sqrt(mean(x^2) + epsilon) * gain
template <class S>
class RmsNormSource {
 public:
  using F = typename S::F32;
  explicit RmsNormSource(const RmsNormQuantizeShrinkArgs& args) : args_(args) {}

  void begin(int32_t i, int32_t m, const AdapterRows* segment) {
    const int32_t row = args_.row_index == nullptr ? m : args_.row_index[m];
    x_[i] = args_.x + static_cast<size_t>(row) * static_cast<size_t>(args_.x_stride);
    inverse_[i] = inverse_rms<S>(x_[i], args_.out.cols, args_.epsilon);
    gain_ = segment != nullptr && segment->norm_gain != nullptr ? segment->norm_gain : args_.gain;
  }
  LOWRANK_INLINE F value(int32_t i, int32_t k) const {
    return S::mul(S::mul(S::load(x_[i] + k), S::set1(inverse_[i])), S::load(gain_ + k));
  }
  LOWRANK_INLINE F value_first(int32_t i, int32_t k, int count) const {
    return S::mul(S::mul(S::load_first(x_[i] + k, count), S::set1(inverse_[i])),
                  S::load_first(gain_ + k, count));
  }

 private:
  const RmsNormQuantizeShrinkArgs& args_;
  const float* x_[kQuantizeRows];
  float inverse_[kQuantizeRows];
  const float* gain_ = nullptr;  // that of the block's segment
};

// u = x
template <class S>
class PlainSource {
 public:
  using F = typename S::F32;
  explicit PlainSource(const QuantizeShrinkArgs& args) : args_(args) {}

  void begin(int32_t i, int32_t m, const AdapterRows*) {
    x_[i] = args_.x + static_cast<size_t>(m) * static_cast<size_t>(args_.x_stride);
  }
  LOWRANK_INLINE F value(int32_t i, int32_t k) const { return S::load(x_[i] + k); }
  LOWRANK_INLINE F value_first(int32_t i, int32_t k, int count) const {
    return S::load_first(x_[i] + k, count);
  }

 private:
  const QuantizeShrinkArgs& args_;
  const float* x_[kQuantizeRows];
};

// u = act(gate) * up
template <class S, Activation Act>
class GluSource {
 public:
  using F = typename S::F32;
  explicit GluSource(const GluQuantizeShrinkArgs& args) : args_(args) {}

  void begin(int32_t i, int32_t m, const AdapterRows*) {
    gate_[i] = args_.gate_up + static_cast<size_t>(m) * static_cast<size_t>(args_.stride);
  }
  LOWRANK_INLINE F value(int32_t i, int32_t k) const {
    return gated(S::load(gate_[i] + k), S::load(gate_[i] + args_.out.cols + k));
  }
  LOWRANK_INLINE F value_first(int32_t i, int32_t k, int count) const {
    return gated(S::load_first(gate_[i] + k, count), S::load_first(gate_[i] + args_.out.cols + k, count));
  }

 private:
  static LOWRANK_INLINE F gated(F gate, F up) {
    return S::mul(Act == Activation::kSilu ? silu<S>(gate) : gelu_tanh<S>(gate), up);
  }
  const GluQuantizeShrinkArgs& args_;
  const float* gate_[kQuantizeRows];
};

}  // namespace lowrank::cpu
