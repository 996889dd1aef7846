// x[m, :] += y[m, :] / sqrt(mean(y[m]^2) + epsilon) * gain
// The norm after a block, before the residual (Gemma's sandwich norms). Rows are split over the parts.
#pragma once

#include "ops/types.h"

namespace lowrank {

struct RmsNormAddArgs {
  const float* y;  // [M, width] float32
  float* x;        // [M, width] float32
  int32_t rows;
  int32_t width;
  const float* gain;  // [width]
  float epsilon;
  const float* const* gain_rows;  // [M] gain of each row in place of `gain`, or null
};

}  // namespace lowrank
