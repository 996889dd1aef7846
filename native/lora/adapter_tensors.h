// Tensors of an adapter file as float32, in the engine's order of rows, checked: shape, readable type, finite numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/tensor_source.h"
#include "lora/adapter.h"

namespace lowrank {

struct FloatMatrix {
  int32_t rows = 0;
  int32_t cols = 0;
  std::vector<float> values;  // [rows, cols]

  const float* row(int32_t index) const { return values.data() + int64_t{index} * cols; }
};

// Every function throws Error naming the tensor: kAdapterFormat where it is missing or holds NaN or Inf, kAdapterShape
// where its shape is not the expected one, kModelUnsupported for a type that is not readable as float32. Nothing is
// allocated before the shape has been checked, and the shape is backed by bytes of the file.
class AdapterTensors {
 public:
  explicit AdapterTensors(const TensorSource& source) : source_(source) {}

  // In place of a number of rows: a rank, from 1 to kMaxLoraRank.
  static constexpr int32_t kAnyRank = -1;

  // The rows that the entry names, transposed and un-permuted as it says.
  FloatMatrix matrix(const AdapterEntry& entry, int32_t rows, int32_t cols) const;
  std::vector<float> vector(const AdapterEntry& entry, int32_t size) const;

  // For tables too large to hold as float32: the tensor, once its shape is known to be [rows, cols] …
  const TensorInfo& table(const AdapterEntry& entry, int32_t rows, int32_t cols) const;
  // … and some of its rows, to out [row_count, cols]. Thread-safe.
  void read_table(const TensorInfo& tensor, int32_t row_begin, int32_t row_count, float* out) const;

  // Throws Error(kAdapterUnsupported) unless the entry's tensor holds the very numbers of the one that it is a copy of.
  void check_copy(const AdapterEntry& entry) const;

  // Rows of the tensor as the entry sees it, transposed where it says so; 0 for a scalar.
  int64_t rows_in_file(const AdapterEntry& entry) const;

 private:
  const TensorInfo& find(const AdapterEntry& entry) const { return find(entry.tensor); }
  const TensorInfo& find(const std::string& name) const;

  const TensorSource& source_;
};

}  // namespace lowrank
