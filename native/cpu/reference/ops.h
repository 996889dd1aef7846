// The reference ops: every op's contract as plain loops, complete and never optimised at the expense of
// clarity. Other instruction sets are checked against them. Sums of floats run in blocks of kSumBlock
// consecutive terms, each block from its first term to its last, and the blocks' sums are added in ascending
// order: one order whatever the number of rows or parts, with a rounding error that grows with the number of
// blocks rather than of terms.
#pragma once

#include "core/float16.h"
#include "cpu/layout.h"
#include "ops/op_table.h"

namespace lowrank::cpu::reference {

inline constexpr int32_t kSumBlock = kActivationAlignment;

LOWRANK_INFERENCE_OPS(LOWRANK_DECLARE_OP)
LOWRANK_TRAINING_OPS(LOWRANK_DECLARE_OP)

MatmulKernels matmul_kernels();

// sum_k x[k]^2 in the order above.
float sum_of_squares(const float* x, int32_t count);

// The element at `index` of a packed low-rank factor.
inline float factor_element(const PackedFactor& factor, size_t index) {
  switch (factor.dtype) {
    case LoraDType::kBFloat16: return bfloat16_to_float32(factor.data.as<uint16_t>()[index]);
    case LoraDType::kFloat32: return factor.data.as<float>()[index];
    case LoraDType::kInt8: return factor.data.as<int8_t>()[index];
  }
  return 0.0f;
}

// The segment that holds `row`, or null where the row has no adapter.
template <class Segment>
const Segment* segment_of(const Segment* segments, int32_t count, int32_t row) {
  for (int32_t i = 0; i < count; ++i)
    if (row >= segments[i].row_begin && row < segments[i].row_end) return &segments[i];
  return nullptr;
}

}  // namespace lowrank::cpu::reference
