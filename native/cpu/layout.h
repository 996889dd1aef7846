// How the CPU backend lays out what it packs: one layout for every instruction set, for prefill, decode and gather.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/buffer.h"
#include "ops/types.h"

namespace lowrank::cpu {

inline constexpr int32_t kTileRows = 16;  // output channels side by side: one 512-bit register of int32
inline constexpr int32_t kTileDepth = 4;  // input channels that one vpdpbusd lane sums

// int8:     [ceil(N/16)][ceil64(K)/4][16][4] uint8, w + 128; padding holds 128 (that is, zero), but for K's padding of a
//           rotated matrix, whose last block is rotated as a whole.
// bfloat16: [ceil(N/16)][ceil64(K)/2][16][2] uint16.
// float32:  [ceil(N/16)][ceil64(K)][16] float.
// A decode streams it strictly forwards; K's padding to 64 matches that of Activations.
struct PackedMatrix : Matrix {
  Buffer data;
  // int8 only, padding 0. Float input: [ceil16(N)] float32, one for a row. int8 input: [N/16][groups()][16] bfloat16.
  Buffer scale;
  Buffer smoothing;                         // [ceil64(K)] float32 or empty; backs Matrix::input
  std::vector<int32_t> outlier_ids;         // backs Matrix::input
  std::unique_ptr<LoraFactor> outlier_store;  // backs Matrix::outlier_columns
  int32_t padded_rows() const { return round_up(rows, kTileRows); }
  int32_t padded_cols() const { return round_up(cols, kActivationAlignment); }
  // Scales of one row.
  int32_t groups() const { return activation == ActivationFormat::kInt8 ? scale_groups(cols) : 1; }
};

// A: [rank][ceil64(in)], row-major, padding zero. B: [ceil(out/16)][rank][16], padding zero.
struct PackedFactor : LoraFactor {
  Buffer data;
  bool bfloat16 = true;  // else float32
  bool is_a = true;
  int32_t stride = 0;  // A only: ceil64(in)
};

}  // namespace lowrank::cpu
