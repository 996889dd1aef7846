// The int8 matrix product alone, on the shapes of SmolLM2-135M's layers, without outliers and adapters.
#pragma once

#include <cstdint>

namespace lowrank::bench {

// Multiplications and additions a second, 10^9, over the four products of a layer for `rows` rows; the median of a few runs.
double matmul_gop_per_s(int32_t rows, int threads);

}  // namespace lowrank::bench
