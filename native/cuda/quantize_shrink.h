#pragma once

#include "cuda/launches.h"
#include "device/params/quantize_shrink.h"

namespace lowrank::cuda {

// Blocks that may share the groups of a row where there are no adapters, and rows alone would leave the device idle.
inline constexpr int32_t kQuantizeMaxParts = 8;

// Rows of a block at most where there are adapters: those of the second operand of a bfloat16 mma.
inline constexpr int32_t kShrinkRows = 8;

// How a launch with adapters is cut: blocks of so many rows; so many blocks that share the slices of K of the same rows; and so
// many that share the ranks of the same slices. It shows in no result, so it goes by the device alone.
struct ShrinkGrid {
  int32_t block_rows;
  int32_t parts;
  int32_t rank_parts;
};
struct ShrinkGridOf {
  int32_t rows;
  int32_t cols;
  bool norm;    // each block that shares rows makes their norm again
  bool shares;  // there is memory for it: device::ShrinkSums
};
// rank_parts at most; they make the same u.
inline constexpr int32_t kShrinkRankParts = 3;
ShrinkGrid shrink_grid(const ShrinkGridOf& launch, int32_t multiprocessors);

void enqueue(Launches& launches, const device::RmsNormQuantizeShrinkParams& params);
void enqueue(Launches& launches, const device::QuantizeShrinkParams& params);
void enqueue(Launches& launches, const device::GluQuantizeShrinkParams& params);

}  // namespace lowrank::cuda
