// Int32 sums of a scale group as float32, exactly, without a conversion instruction: a sum of 128 products of int8 numbers lies
// within 2^21, so beside the integer whose bits are those of 1.5 * 2^23 it is that float32 plus the sum. Accumulators begin
// there, which costs nothing.
#pragma once

#include "cuda/cuda.h"
#include "cuda/scale_group.h"

namespace lowrank::cuda {

static_assert(kScaleGroup * 127 * 127 < 1 << 21);
inline constexpr int32_t kSumBegin = 0x4b400000;   // the bits of 12582912
inline constexpr float kSumBeginFloat = 12582912.0f;

LOWRANK_DEVICE float sum_as_float(int32_t sum) { return __int_as_float(sum) - kSumBeginFloat; }

}  // namespace lowrank::cuda
