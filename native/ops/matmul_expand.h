// y[m, n] = g[n] * (sx[m] * sw[n] * acc[m, n] + sum_j o[m, j] * C[n, j] + sum_r h[m, r] * B[n, r])
//           + bias[n] + residual[m, n]
// acc[m, n] = sum_k q[m, k] * w[n, k] exactly, in int32; o = x.outliers and C = w.outlier_columns, where there are any.
//
// The matrix product with dequantisation, LoRA expand, DoRA gain, bias and residual in one epilogue before the one
// store of y. g, B, bias come from the row's adapter segment; without one, g = 1 and B h = 0. `residual` may be y itself.
// For float input (Matrix::activation), sx * sw * acc is a float32 sum over k in one fixed order.
// K is at most 2^17, so that acc fits: 2^17 * 127 * 127 < 2^31.
//
// Tolerance against the reference: acc bit-equal; y within 4 ulp of the largest term. Columns are split over the parts.
#pragma once

#include "ops/types.h"

namespace lowrank {

struct MatmulExpandArgs {
  Activations x;        // [M, K]
  const Matrix* w;      // [N, K]
  int32_t row_begin;    // the rows of x and y to compute: [row_begin, row_end)
  int32_t row_end;
  const float* bias;     // [N] or null
  const float* residual; // [M, y_stride] or null
  float* y;              // [M, y_stride] float32
  int32_t y_stride;
  AdapterSegments adapters;
};

}  // namespace lowrank
