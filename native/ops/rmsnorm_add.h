// x[m, :] += multiplier * y[m, :] / sqrt(mean(y[m]^2) + epsilon) * gain,   or
// x[m, :] += multiplier * y[m, :]                                           where gain is null
// A block's output on its way to the residual: its norm (Gemma's sandwich norms, OLMo 2) and multiplier (Granite). Rows are split
// over the parts.
#pragma once

#include "ops/types.h"

namespace lowrank {

struct RmsNormAddArgs {
  const float* y;  // [M, width] float32
  float* x;        // [M, width] float32
  int32_t rows;
  int32_t width;
  const float* gain;  // [width], or null: no norm
  float epsilon;
  const float* const* gain_rows;  // [M] gain of each row in place of `gain`, or null; null where `gain` is
  float multiplier = 1;
};

}  // namespace lowrank
