// See ops/quantize_shrink.h.
#pragma once

#include "device/params/common.h"
#include "ops/quantize_shrink.h"

namespace lowrank::device {

struct RmsNormQuantizeShrinkParams {
  const float* x;            // [*, x_stride]
  const int32_t* row_index;  // [rows] or null
  const float* gain;         // [K]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  int32_t x_stride;
  int32_t rows;
  float epsilon;
};

struct QuantizeShrinkParams {
  const float* x;  // [rows, x_stride]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  int32_t x_stride;
  int32_t rows;
};

struct GluQuantizeShrinkParams {
  const float* gate_up;  // [rows, stride]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  int32_t stride;
  int32_t rows;
  Activation activation;
};

}  // namespace lowrank::device
