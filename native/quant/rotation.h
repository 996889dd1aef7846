// The rotation of int8 inputs: an orthogonal Walsh-Hadamard matrix on each block of 64 channels. It spreads what one
// channel holds over 64, so that a few large channels no longer set the scale for the whole row (QuaRot, arXiv
// 2404.00456). Weights are rotated when they are packed, inputs when they are quantised: the product is the same.
#pragma once

#include <cstdint>

#include "quant/scheme.h"

namespace lowrank {

// x [64]: x = H x / 8, H[i][j] = (-1)^popcount(i & j). Its own inverse. Butterflies of stride 1, 2, 4, … 32, in this
// order on every instruction set.
inline void rotate_block(float* x) {
  for (int32_t stride = 1; stride < kRotationBlock; stride *= 2)
    for (int32_t i = 0; i < kRotationBlock; ++i) {
      if ((i & stride) != 0) continue;
      const float a = x[i];
      const float b = x[i + stride];
      x[i] = a + b;
      x[i + stride] = a - b;
    }
  for (int32_t i = 0; i < kRotationBlock; ++i)
    x[i] *= 0.125f;
}

}  // namespace lowrank
