// What every backend does with the rows of a weight matrix before it lays them out: the checks of a spec, the quantisation of
// a row, and the way back. So the numbers that backends hold are the same, whatever their layouts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "backend/backend.h"

namespace lowrank {

// Bounds of a matrix. cols (K): an int32 sum of K products of two int8 must not overflow; rows * cols then fit size_t.
inline constexpr int32_t kMaxMatrixRows = 1 << 27;
inline constexpr int32_t kMaxMatrixCols = 1 << 17;

// Throws Error(kInvalidArgument), naming `name`, where value is not in [1, largest].
void check_bound(int64_t value, int64_t largest, const char* name);

// Throws Error(kInvalidArgument) for a spec outside the bounds above, a smoothing that is not [cols] of finite factors above
// zero, outliers that are not ascending channels, a transform that is not the scheme's, a group of another size, or int8
// activations with weights that are not quantised.
void check_matrix_spec(const MatrixSpec& spec);

// Throws Error(kBackendUnavailable) where the backend of these ops has no kernel for the formats. `backend`: "cpu (avx2)".
void check_matmul_kernel(const OpTable& ops, const std::string& backend, const QuantScheme& scheme);

// Throws Error(kModelFormat) where a weight of x [cols] is not finite in the matrix's format.
void check_finite_row(WeightFormat format, int32_t row, const float* x, int32_t cols);

// A row of an int8 matrix; the pointers last until the next row.
struct QuantizedRow {
  const int8_t* q;           // [ceil64(cols)], 0 beyond cols but where the matrix is rotated
  const float* scale;        // [scales_of_row]; of int8 input each is a number that bfloat16 holds
  const uint16_t* outliers;  // [outlier_count] bfloat16
};

// Quantises rows of one spec, one at a time.
class RowQuantizer {
 public:
  explicit RowQuantizer(const MatrixSpec& spec);
  // x [cols], finite. Throws Error(kModelFormat) where the input transform leaves float32's range.
  QuantizedRow quantize(int32_t row, const float* x);

 private:
  const float* transform(int32_t row, const float* x);

  const MatrixSpec& spec_;
  int32_t padded_;                     // ceil64(cols)
  std::vector<int8_t> q_;              // [padded]
  std::vector<float> scale_;
  std::vector<float> transformed_;     // [padded]
  std::vector<uint16_t> outliers_;
};

// The inverse of the input transform, on `block` [kRotationBlock] of dequantised weights: rotated back where `rotated`, then
// its first `count` times `smoothing` [count], or null.
void restore_block(bool rotated, const float* smoothing, int32_t count, float* block);

// Takes rows [row_begin, row_begin + row_count) of a matrix, x [row_count, cols]. Each thread has one of its own.
using RowSink = std::function<void(int32_t row_begin, int32_t row_count, const float* x)>;

// Reads all rows through `read` and hands them to sinks, on up to `threads` threads, in blocks of whole `grain`s of rows. Each
// thread holds a block of at most 1 MiB of float rows (or one grain, where that is larger). The first exception of any is
// rethrown on the caller's thread.
void read_rows(const MatrixSpec& spec, const RowReader& read, int threads, int32_t grain,
               const std::function<RowSink()>& make_sink);

// Throws Error(kInvalidArgument) where the rows are not of the matrix.
void check_rows(const Matrix& matrix, int32_t row_begin, int32_t row_count);

// A hash of what is put in. Each step is a bijection of the state and of the word, so a change of any one word always changes
// it. Not for hostile input.
class Checksum {
 public:
  void add(uint64_t word);
  void add(const void* data, size_t bytes);  // a multiple of 8
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

}  // namespace lowrank
