// y[m, n] = g[n] * (sum_i sx[m, i] * sw[n, i] * acc[m, n, i] + sum_j o[m, j] * C[n, j] + sum_r h[m, r] * B[n, r])
//           + bias[n] + residual[m, n]
// y[m, n] = soft_cap * tanh(y[m, n] / soft_cap)                       where soft_cap is not 0 (Gemma 2's logits, arXiv 2408.00118)
// acc[m, n, i] = sum of q[m, k] * w[n, k] over the k of group i (QuantScheme::group) exactly, in int32, and the groups are added in
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

// The gradient of the input, for training: matmul_backward_input, on the same packed matrix.
//
//   dx[m, k] = sum_n W[n, k] * dy[m, n]
//
// W: the logical weights, as Backend::unpack gives them, whatever the matrix's formats. Where it has an input transform, W is
// S R w with the held weights w but for the outlier channels, which are C (quant/rotation.h, InputTransform): the sums are over w,
// a block of kRotationBlock channels at a time, and the transform is undone on the sums. DoRA's gain, and the gradient through A and B,
// are the caller's.
//
// Sums are in float32, over kBackwardRows rows of W at a time in ascending order, and these sums likewise: the result of a row does not depend
// on others, nor on parts. Blocks of channels are split over the parts.
//
// Tolerance: half an ulp for each of the kBackwardRows + N / kBackwardRows additions, and 6 ulps for a transform, of the magnitudes
// that are summed: |w[n, k] dy[m, n]|, and with a rotation those of the whole block, divided by 8.
inline constexpr int32_t kBackwardRows = 64;

struct MatmulBackwardInputArgs {
  const float* dy;    // [M, dy_stride]: N of a row are read
  int32_t dy_stride;
  const Matrix* w;    // [N, K]
  int32_t row_begin;  // the rows of dy and dx to compute: [row_begin, row_end)
  int32_t row_end;
  float* dx;          // [M, dx_stride]: K of a row are written
  int32_t dx_stride;
};

}  // namespace lowrank
