// ops/matmul_expand.h for a device.
#pragma once

#include "device/params/common.h"

namespace lowrank::device {

struct MatmulExpandParams {
  Activations x;  // [M, K]
  Matrix w;       // [N, K]
  int32_t row_begin;  // the rows of x and y to compute: [row_begin, row_end)
  int32_t row_end;
  const float* bias;      // [N] or null
  const float* residual;  // [M, y_stride] or null; may be y
  float* y;               // [M, y_stride] float32
  int32_t y_stride;
  AdapterSegments adapters;
  float soft_cap;  // 0: none
};

}  // namespace lowrank::device
