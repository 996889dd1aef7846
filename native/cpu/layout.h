// How the CPU backend lays out what it packs: one layout for every instruction set, for prefill, decode and gather.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/buffer.h"
#include "ops/types.h"

namespace lowrank::cpu {

// In the names of packed files: to be changed with what follows.
inline constexpr char kLayoutName[] = "tiles16x4";

inline constexpr int32_t kTileRows = 16;  // output channels side by side: one 512-bit register of int32
inline constexpr int32_t kTileDepth = 4;  // input channels that one vpdpbusd lane sums

// Bytes of a tile: 16 rows over all of K. A format's elements lie in it as follows.
inline constexpr size_t tile_bytes(const QuantScheme& scheme, int32_t cols) { return kTileRows * row_bytes(scheme, cols); }

// int8:     [ceil(N/16)][ceil64(K)/4][16][4] uint8, w + 128; padding holds 128 (that is, zero), but for K's padding of a
//           rotated matrix, whose last block is rotated as a whole.
// bfloat16: [ceil(N/16)][ceil64(K)/2][16][2] uint16.
// float32:  [ceil(N/16)][ceil64(K)][16] float.
// A decode streams it strictly forwards; K's padding to 64 matches that of Activations.
struct PackedMatrix : Matrix {
  // Of its own, or memory that was given and that nobody writes to: see Backend::place.
  BufferPart data;
  // int8 only, padding 0. Float input: [ceil16(N)] float32, one for a row. int8 input: [N/16][groups()][16] bfloat16.
  BufferPart scale;
  Buffer smoothing;                         // [ceil64(K)] float32 or empty; backs Matrix::input
  std::vector<int32_t> outlier_ids;         // backs Matrix::input
  std::unique_ptr<LoraFactor> outlier_store;  // backs Matrix::outlier_columns
  int32_t group_count = 0;                    // see groups()
  int32_t padded_rows() const { return round_up(rows, kTileRows); }
  int32_t padded_cols() const { return round_up(cols, kActivationAlignment); }
  // Scale groups of one row; 1 of float input.
  int32_t groups() const { return group_count; }
};

// A: [rank/4][ceil64(in)/width][4][width], width 32 for bfloat16 and 16 else, padding zero; of the last group's ranks there may be
// fewer than 4.
// B: [ceil(out/16)][rank][16], of bfloat16 [ceil(out/16)][ceil(rank/2)][16][2], padding zero. So a decode streams both strictly
// forwards, and bfloat16 products find their pairs side by side.
struct PackedFactor : LoraFactor {
  BufferPart data;
  LoraDType dtype = LoraDType::kBFloat16;
  bool is_a = true;
  int32_t stride = 0;  // A only: ceil64(in)
};

inline constexpr int32_t kFactorRanks = 4;  // ranks of A side by side

// Ranks of the group that holds rank r.
inline int32_t group_ranks(const PackedFactor& a, int32_t r) {
  const int32_t rest = a.rank - r / kFactorRanks * kFactorRanks;
  return rest < kFactorRanks ? rest : kFactorRanks;
}

// Input channels of A side by side.
inline constexpr int32_t factor_a_width(LoraDType dtype) { return dtype == LoraDType::kBFloat16 ? 32 : 16; }

// Where A[r, k] lies in a packed A factor.
inline size_t factor_a_offset(const PackedFactor& a, int32_t r, int32_t k) {
  const int32_t first = r / kFactorRanks * kFactorRanks, width = factor_a_width(a.dtype);
  return static_cast<size_t>(first) * static_cast<size_t>(a.stride) +
         static_cast<size_t>(k / width * group_ranks(a, r) + r - first) * static_cast<size_t>(width) + static_cast<size_t>(k % width);
}

// Ranks of B side by side.
inline constexpr int32_t factor_b_depth(LoraDType dtype) { return dtype == LoraDType::kBFloat16 ? 2 : 1; }

// Elements of one column's B, padding included.
inline int32_t factor_b_ranks(const PackedFactor& b) { return round_up(b.rank, factor_b_depth(b.dtype)); }

// Where B[n, r] lies in a packed B factor.
inline size_t factor_b_offset(const PackedFactor& b, int32_t n, int32_t r) {
  const int32_t depth = factor_b_depth(b.dtype);
  return (static_cast<size_t>(n / kTileRows) * static_cast<size_t>(factor_b_ranks(b)) + static_cast<size_t>(r / depth * depth)) *
             kTileRows +
         static_cast<size_t>(n % kTileRows * depth + r % depth);
}

}  // namespace lowrank::cpu
