// See ops/rmsnorm_add.h.
#pragma once

#include "device/params/common.h"

namespace lowrank::device {

struct RmsNormAddParams {
  const float* y;                 // [rows, width]
  float* x;                       // [rows, width]
  const float* gain;              // [width], or null: no norm
  const float* const* gain_rows;  // [rows] or null
  int32_t rows;
  int32_t width;
  float epsilon;
  float multiplier;
};

}  // namespace lowrank::device
