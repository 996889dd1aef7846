// The three ops that turn float rows into the input of a matrix product. Each makes, in one pass over a row u:
//   h[m, :]   = scale * A u                     (shrink; of u as it is, or, for A in bfloat16 where the instruction set has
//                                                bfloat16 products, of u rounded to it: up to 2^-9 of sum |A u| beside)
//   outliers[m, j] = u[channel j];  v = u with these channels at 0, padded with 0 to a multiple of 64
//   v         = v * smoothing                                     (where the matrix is smoothed)
//   v         = rotate_block(v), 64 channels at a time            (where the matrix is rotated: quant/rotation.h)
// and for each group i of out.group channels
//   sx[m, i]  = max |v| / 127,  q[m, k] = round_half_even(v[k] / sx[m, i])
//   compensation[m, i] = -128 * sum of q[m, k]                    (on the CPU alone)
// or, for float input, values[m, :] = u. A zero group has sx = 0 and q = 0. A row that holds NaN or Inf has an sx or an
// outlier that is not finite, so that the fault reaches the logits, where the engine reports it.
//
// rmsnorm_quantize_shrink:  u = x / sqrt(mean(x^2) + epsilon) * gain             (arXiv 1910.07467)
// quantize_shrink:          u = x
// glu_quantize_shrink:      u = act(gate) * up, x = gate | up [M, 2 K]           (arXiv 2002.05202)
//
// Sums over K run in one fixed order whatever M and parts are, so a row's result does not depend on its batch.
// Rows are split over the parts.
#pragma once

#include "ops/types.h"

namespace lowrank {

enum class Activation : uint8_t {
  kSilu,      // x / (1 + exp(-x))
  kGeluTanh,  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
};

struct RmsNormQuantizeShrinkArgs {
  const float* x;            // [*, x_stride] float32
  int32_t x_stride;
  const int32_t* row_index;  // [M] rows of x to read, or null for 0 … M-1
  int32_t rows;              // M
  const float* gain;         // [K]
  float epsilon;
  InputTransform input;  // int8 output only
  Activations out;
  AdapterSegments adapters;
};

struct QuantizeShrinkArgs {
  const float* x;  // [M, x_stride] float32
  int32_t x_stride;
  int32_t rows;
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
};

struct GluQuantizeShrinkArgs {
  const float* gate_up;  // [M, stride]: gate in the first K columns, up in the next K
  int32_t stride;
  int32_t rows;
  Activation activation;
  InputTransform input;
  Activations out;
  AdapterSegments adapters;
};

}  // namespace lowrank
