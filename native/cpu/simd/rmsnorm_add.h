// x = x + multiplier * y / sqrt(mean(y^2) + epsilon) * gain (ops/rmsnorm_add.h), 16 lanes at a time.
#pragma once

#include "cpu/simd/sum_of_squares.h"
#include "ops/rmsnorm_add.h"

namespace lowrank::cpu {

// x = x + multiplier * y
template <class S>
void add_multiplied(const RmsNormAddArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  const auto multiplier = S::set1(args.multiplier);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const size_t begin = static_cast<size_t>(m) * static_cast<size_t>(args.width);
    const float* y = args.y + begin;
    float* x = args.x + begin;
    for (int32_t k = 0; k < args.width; k += S::kLanes) {
      const int count = args.width - k < S::kLanes ? args.width - k : S::kLanes;
      S::store_first(x + k, S::fma(S::load_first(y + k, count), multiplier, S::load_first(x + k, count)), count);
    }
  }
}

template <class S, bool Multiplied>
void add_normalised(const RmsNormAddArgs& args, int part, int parts) {
  const auto multiplier = S::set1(args.multiplier);
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const size_t begin = static_cast<size_t>(m) * static_cast<size_t>(args.width);
    const float* y = args.y + begin;
    float* x = args.x + begin;
    const float* gain =
        args.gain_rows != nullptr && args.gain_rows[m] != nullptr ? args.gain_rows[m] : args.gain;
    const auto inverse = S::set1(inverse_rms<S>(y, args.width, args.epsilon));
    for (int32_t k = 0; k < args.width; k += S::kLanes) {
      const int count = args.width - k < S::kLanes ? args.width - k : S::kLanes;
      auto normalised = S::mul(S::mul(S::load_first(y + k, count), inverse), S::load_first(gain + k, count));
      if constexpr (Multiplied) normalised = S::mul(normalised, multiplier);
      S::store_first(x + k, S::add(S::load_first(x + k, count), normalised), count);
    }
  }
}

template <class S>
void add_to_residual(const RmsNormAddArgs& args, int part, int parts) {
  if (args.gain == nullptr) return add_multiplied<S>(args, part, parts);
  if (args.multiplier != 1.0f) return add_normalised<S, true>(args, part, parts);
  add_normalised<S, false>(args, part, parts);
}

}  // namespace lowrank::cpu
