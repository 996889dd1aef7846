// Packing of weights and LoRA factors into the layout of layout.h, and the way back. One packing serves every
// instruction set.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "cpu/layout.h"

namespace lowrank::cpu {

// Elements of one lane that lie side by side: the [4], [2] or [1] that ends the layout.
inline constexpr int32_t tile_depth(WeightFormat format) {
  return format == WeightFormat::kInt8 ? kTileDepth : format == WeightFormat::kBFloat16 ? 2 : 1;
}

// Where element (lane, k) lies within its tile of 16 rows.
inline constexpr size_t tile_offset(int32_t depth, int32_t lane, int32_t k) {
  return (static_cast<size_t>(k / depth) * kTileRows + static_cast<size_t>(lane)) *
             static_cast<size_t>(depth) +
         static_cast<size_t>(k % depth);
}

// The first element of the tile that holds `row`. T: uint8_t, uint16_t or float, after the format.
template <class T>
const T* tile_of_row(const PackedMatrix& matrix, int32_t row) {
  return reinterpret_cast<const T*>(matrix.data.as<uint8_t>() +
                                    static_cast<size_t>(row / kTileRows) * tile_bytes(matrix.scheme, matrix.cols));
}

// The scale of element (row, k) of an int8 matrix; k may lie in K's padding.
float scale_of(const PackedMatrix& matrix, int32_t row, int32_t k);

// The integers [begin, begin + kRotationBlock) of a row of a quantised matrix. `begin`: a multiple of kRotationBlock.
void held_integers(const PackedMatrix& matrix, int32_t row, int32_t begin, int8_t (&block)[kRotationBlock]);

// The weights there, of any matrix, as they are held: dequantised, the input transform not undone.
void held_block(const PackedMatrix& matrix, int32_t row, int32_t begin, float (&block)[kRotationBlock]);

// out [cols]: the logical weights of a row as the engine holds them: dequantised, rotated back, outliers put in.
void unpack_row(const PackedMatrix& matrix, int32_t row, float* out);

// Reads the rows through `read`, quantises and packs them, on up to `threads` threads: see backend/matrix_rows.h for the memory
// that they take and for what is thrown.
std::unique_ptr<Matrix> pack_matrix(const MatrixSpec& spec, const RowReader& read, int threads);

// A matrix without its weights: int8 ones hold 0, as all of the padding does. Throws as pack_matrix does for the spec.
std::unique_ptr<Matrix> allocate_matrix(const MatrixSpec& spec);

// See Backend::place.
std::unique_ptr<Matrix> place_matrix(const MatrixSpec& spec, const GivenWeights& given);

// What pack_matrix writes to: weights, scales, columns of the outliers.
std::vector<MemoryRange> memory(const PackedMatrix& matrix);

// out [row_count, cols] float32: the logical weights; see unpack_row.
// Throws Error(kInvalidArgument) for rows outside the matrix.
void unpack_rows(const PackedMatrix& matrix, int32_t row_begin, int32_t row_count, float* out);

// A 64-bit hash of shape, formats, weights and scales. Each step is a bijection of the state and of the word,
// so a change of any one word always changes it. Not for hostile input.
uint64_t checksum(const PackedMatrix& matrix);

// a [rank, in], b [out, rank], both row-major float32; rounded to nearest even where dtype is bfloat16.
// Throw Error(kAdapterFormat) for values that are not finite, Error(kInvalidArgument) for shapes outside the
// bounds and, where dtype is int8, for values that are not integers from -127 to 127.
std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype);
std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype);

// See Backend::join.
void join_factors(const std::vector<LoraFactor*>& factors);

}  // namespace lowrank::cpu
