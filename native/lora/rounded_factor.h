// A and B as the ops multiply them: float32, rounded to bfloat16, or in int8 by quant/int8.h. A [rank, in] has an int8 scale for
// each rank, its row; B [out, rank] has one for each rank, its column. So
//   B A x = sum_r B_q[:, r] * (scale_a[r] * scale_b[r] * (A_q x)[r])
// and neither product knows of scales: they multiply h between the two.
#pragma once

#include <string>
#include <vector>

#include "lora/adapter_tensors.h"
#include "ops/types.h"

namespace lowrank {

struct RoundedFactor {
  FloatMatrix values;        // as packed: int8 ones are integers
  std::vector<float> scale;  // [rank] of an int8 factor; else empty
};

// `tensor` is what the error names: Error(kAdapterFormat) for numbers beyond bfloat16's range where that is the dtype.
RoundedFactor round_a(FloatMatrix a, LoraDType dtype, const std::string& tensor);  // [rank, in]
RoundedFactor round_b(FloatMatrix b, LoraDType dtype, const std::string& tensor);  // [out, rank]

// [rank] scale_a[r] * scale_b[r], see ShrinkTerm; empty where the factors are not int8. Throws Error(kAdapterFormat) where one
// leaves float32's range.
std::vector<float> rank_scale(const RoundedFactor& a, const RoundedFactor& b, const std::string& tensor);

// The numbers that the values stand for.
FloatMatrix a_times_scale(const RoundedFactor& a);
FloatMatrix b_times_scale(const RoundedFactor& b);

}  // namespace lowrank
