// The order in which a file keeps the rows of a projection.
#pragma once

#include <cstdint>

namespace lowrank {

enum class RowOrder : uint8_t {
  kPlain,             // as Hugging Face has them: row (head, half, i), the halves being those that RoPE rotates against each other
  kInterleavedHalves, // as llama.cpp's converter leaves q and k of Llama: row (head, i, half)
};

// Where the file has the row that is `row` in the plain order.
inline int32_t stored_row(RowOrder order, int32_t head_dim, int32_t row) {
  if (order == RowOrder::kPlain) return row;
  const int32_t half = head_dim / 2, within = row % head_dim;
  return row - within + 2 * (within % half) + within / half;
}

}  // namespace lowrank
