#pragma once

#include "cuda/launches.h"
#include "device/params/quantize_shrink.h"

namespace lowrank::cuda {

// Floats of shared memory that hold the rows of a block, a chunk of channels at a time.
inline constexpr int32_t kQuantizeFloats = 8192;
// From so many rows on, where there are adapters, a block takes kQuantizeSharedRows rows, so that each reads A once.
inline constexpr int32_t kQuantizeManyRows = 16;
inline constexpr int32_t kQuantizeSharedRows = 4;
// Blocks that may share the groups and the ranks of the same rows, where rows alone would leave the device idle.
inline constexpr int32_t kQuantizeMaxParts = 8;

void enqueue(Launches& launches, const device::RmsNormQuantizeShrinkParams& params);
void enqueue(Launches& launches, const device::QuantizeShrinkParams& params);
void enqueue(Launches& launches, const device::GluQuantizeShrinkParams& params);

}  // namespace lowrank::cuda
