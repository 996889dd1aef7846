// y[m, n] = g[n] * (sum_i sx[m, i] * sw[n, i] * acc[m, n, i] + sum_j o[m, j] * C[n, j] + sum_r h[m, r] * B[n, r])
//           + bias[n] + residual[m, n]
// y[m, n] = soft_cap * tanh(y[m, n] / soft_cap)                       where soft_cap is not 0 (Gemma 2's logits, arXiv 2408.00118)
// acc[m, n, i] = sum of q[m, k] * w[n, k] over the k of group i (kScaleGroup) exactly, in int32, and the groups are added in
// order; o = x.outliers and C = w.outlier_columns, where there are any.
//
// The matrix product with dequantisation, LoRA expand, DoRA gain, bias and residual in one epilogue before the one
// store of y. g, B, bias come from the row's adapter segment; without one, g = 1 and B h = 0. `residual` may be y itself.
// For float input (Matrix::activation), the first sum is one over k in float32 in one fixed order, times sw[n] for int8
// weights.
//
// Tolerance against the reference: acc bit-equal; y within 4 ulp, and half an ulp for each group, of the sum of its
// terms' magnitudes; for B in bfloat16, where the instruction set has bfloat16 products, 2^-9 of sum |h B| beside, as h is rounded. A soft cap
// adds 1e-6 of itself; it keeps NaN, and makes itself of infinity. Columns are split over the parts.
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
  float soft_cap = 0;  // above 0; or 0: none
};

}  // namespace lowrank
