// Elements as they lie in a model file, decoded to float32.
#pragma once

#include <cstdint>

#include "formats/dtype.h"

namespace lowrank {

// Decodes `elements` elements, a multiple of the type's block_elements, from `blocks` (at any address) to
// float32 `out`, which must not overlap them. The type must be readable (DTypeFacts). Exact but for one
// rounding: of the product in Q6_K, of the final sum in Q4_1, Q5_1, Q4_K and Q5_K, of the conversion in F64;
// so the result does not depend on whether the compiler fuses multiply and add. Bytes that encode NaN or
// infinity come out as such: the caller checks. Throws nothing, allocates nothing.
void dequantize(DType dtype, const uint8_t* blocks, int64_t elements, float* out);

}  // namespace lowrank
