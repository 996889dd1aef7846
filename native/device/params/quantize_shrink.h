// See ops/quantize_shrink.h.
#pragma once

#include "device/params/common.h"
#include "ops/quantize_shrink.h"

namespace lowrank::device {

// The sum of a shrink over K is one of slices: of so many channels each, added in ascending order.
inline constexpr int32_t kShrinkSlice = 256;
inline constexpr int32_t shrink_slices(int32_t cols) { return (cols + kShrinkSlice - 1) / kShrinkSlice; }

// Where the blocks that share the slices of a row leave their sums for the last of them. Of more rows than
// kShrinkSharedRows no blocks share one.
inline constexpr int32_t kShrinkSharedRows = 256;
struct ShrinkSums {
  float* sums;        // [shrink_slices(K)][rows][h_stride], or null: no blocks share a row
  int32_t* arrivals;  // [kShrinkSharedRows] zero before an op and after it
};

struct RmsNormQuantizeShrinkParams {
  const float* x;            // [*, x_stride]
  const int32_t* row_index;  // [rows] or null
  const float* gain;         // [K]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  ShrinkSums sums;
  int32_t x_stride;
  int32_t rows;
  float epsilon;
};

struct QuantizeShrinkParams {
  const float* x;  // [rows, x_stride]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  ShrinkSums sums;
  int32_t x_stride;
  int32_t rows;
};

struct GluQuantizeShrinkParams {
  const float* gate_up;  // [rows, stride]
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
  ShrinkSums sums;
  int32_t stride;
  int32_t rows;
  Activation activation;
};

}  // namespace lowrank::device
