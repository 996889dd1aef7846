#include "lora/adapter_tensors.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/error.h"
#include "decoder/row_order.h"
#include "quant/int8.h"

namespace lowrank {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

[[noreturn]] void wrong_shape(const TensorInfo& tensor, const std::string& expected) {
  throw Error(ErrorCode::kAdapterShape, "Expected the shape " + expected + " for the adapter's tensor " + tensor.name +
                                            ", received " + shape_text(tensor.shape) +
                                            ". Load the base model that the adapter was trained on.");
}

void check_finite(const TensorInfo& tensor, const float* values, int64_t count) {
  if (max_magnitude_bits(values, count) < kInfinityBits) return;
  for (int64_t i = 0; i < count; ++i)
    if (!std::isfinite(values[i]))
      throw Error(ErrorCode::kAdapterFormat, "Expected finite numbers for the adapter's tensor " + tensor.name + ", received " +
                                                 std::to_string(values[i]) + ". The file is damaged or its training diverged.");
}

// From RowOrder::kInterleavedHalves. values [rows, cols].
void unpermute_rows(const AdapterEntry& entry, int32_t rows, int32_t cols, std::vector<float>& values) {
  const int32_t heads = entry.unpermute_heads;
  if (heads < 0 || rows % heads != 0 || rows / heads % 2 != 0)
    throw Error(ErrorCode::kInvalidArgument, "Expected whole heads of an even size for the rows of " + entry.tensor + ", received " +
                                                 std::to_string(rows) + " rows for " + std::to_string(heads) + " heads.");
  const int32_t head_dim = rows / heads;
  std::vector<float> head(static_cast<size_t>(int64_t{head_dim} * cols));
  for (int64_t begin = 0; begin < rows; begin += head_dim) {
    float* const target = values.data() + begin * cols;
    std::copy_n(target, int64_t{head_dim} * cols, head.data());
    for (int32_t i = 0; i < head_dim; ++i)
      std::copy_n(head.data() + int64_t{stored_row(RowOrder::kInterleavedHalves, head_dim, i)} * cols, cols, target + int64_t{i} * cols);
  }
}

}  // namespace

const TensorInfo& AdapterTensors::find(const std::string& name) const {
  const TensorInfo* found = source_.find(name);
  if (found == nullptr)
    throw Error(ErrorCode::kAdapterFormat, "Expected the tensor " + name + " in the adapter, it is missing.");
  return *found;
}

int64_t AdapterTensors::rows_in_file(const AdapterEntry& entry) const {
  const TensorInfo& tensor = find(entry);
  if (tensor.shape.empty()) return 0;
  return entry.transpose ? tensor.shape.back() : tensor.shape.front();
}

FloatMatrix AdapterTensors::matrix(const AdapterEntry& entry, int32_t rows, int32_t cols) const {
  const TensorInfo& tensor = find(entry);
  const bool flat = tensor.shape.size() == 2;
  const int64_t all_rows = flat ? tensor.shape[entry.transpose ? 1 : 0] : 0;
  const int64_t all_cols = flat ? tensor.shape[entry.transpose ? 0 : 1] : 0;
  const int64_t count = entry.row_count > 0 ? entry.row_count : all_rows;
  const bool count_fits = rows == kAnyRank ? count >= 1 && count <= kMaxLoraRank : count == rows;
  if (!flat || all_cols != cols || !count_fits || entry.row_begin < 0 || entry.row_begin + count > all_rows) {
    std::string expected_rows = rows == kAnyRank ? "rank" : std::to_string(int64_t{entry.row_begin} + rows);
    std::string expected_cols = std::to_string(cols);
    if (entry.transpose) std::swap(expected_rows, expected_cols);
    wrong_shape(tensor, "[" + expected_rows + ", " + expected_cols + "]" +
                            (rows == kAnyRank ? " with a rank from 1 to " + std::to_string(kMaxLoraRank) : ""));
  }

  FloatMatrix out{static_cast<int32_t>(count), cols, std::vector<float>(static_cast<size_t>(count * cols))};
  if (!entry.transpose) {
    source_.read_rows(tensor, entry.row_begin, count, out.values.data());
  } else {
    // In the file: [cols, all_rows].
    constexpr int64_t kBlockElements = 1 << 16;
    const int64_t block = std::clamp<int64_t>(kBlockElements / all_rows, 1, cols);
    std::vector<float> stored(static_cast<size_t>(block * all_rows));
    for (int64_t begin = 0; begin < cols; begin += block) {
      const int64_t size = std::min(block, cols - begin);
      source_.read_rows(tensor, begin, size, stored.data());
      for (int64_t row = 0; row < count; ++row)
        for (int64_t col = 0; col < size; ++col)
          out.values[static_cast<size_t>(row * cols + begin + col)] =
              stored[static_cast<size_t>(col * all_rows + entry.row_begin + row)];
    }
  }
  check_finite(tensor, out.values.data(), count * cols);
  if (entry.unpermute_heads != 0) unpermute_rows(entry, out.rows, cols, out.values);
  return out;
}

std::vector<float> AdapterTensors::vector(const AdapterEntry& entry, int32_t size) const {
  const TensorInfo& tensor = find(entry);
  const int64_t all = tensor.shape.size() == 1 ? tensor.shape[0] : 0;
  const int64_t count = entry.row_count > 0 ? entry.row_count : all;
  if (tensor.shape.size() != 1 || count != size || entry.row_begin < 0 || entry.row_begin + count > all)
    wrong_shape(tensor, "[" + std::to_string(int64_t{entry.row_begin} + size) + "]");
  std::vector<float> values(static_cast<size_t>(all));
  source_.read_rows(tensor, 0, 1, values.data());
  values.erase(values.begin(), values.begin() + entry.row_begin);
  values.resize(static_cast<size_t>(size));
  check_finite(tensor, values.data(), size);
  if (entry.unpermute_heads != 0) unpermute_rows(entry, size, 1, values);
  return values;
}

const TensorInfo& AdapterTensors::table(const AdapterEntry& entry, int32_t rows, int32_t cols) const {
  const TensorInfo& tensor = find(entry);
  if (entry.transpose || entry.row_count != 0 || entry.unpermute_heads != 0)
    throw Error(ErrorCode::kAdapterUnsupported,
                "Expected a whole table, not transposed, for the adapter's tensor " + tensor.name + ".");
  if (tensor.shape != std::vector<int64_t>{rows, cols})
    wrong_shape(tensor, "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]");
  return tensor;
}

void AdapterTensors::read_table(const TensorInfo& tensor, int32_t row_begin, int32_t row_count, float* out) const {
  source_.read_rows(tensor, row_begin, row_count, out);
  check_finite(tensor, out, row_count * tensor.row_length());
}

void AdapterTensors::check_copy(const AdapterEntry& entry) const {
  const TensorInfo& copy = find(entry);
  const TensorInfo& original = find(entry.copy_of);
  bool equal = copy.shape == original.shape;
  constexpr int64_t kBlockElements = 1 << 16;
  const int64_t cols = copy.row_length();
  const int64_t rows = cols > 0 ? copy.elements() / cols : 0;
  const int64_t block = std::clamp<int64_t>(kBlockElements / std::max<int64_t>(cols, 1), 1, std::max<int64_t>(rows, 1));
  std::vector<float> a(static_cast<size_t>(block * cols));
  std::vector<float> b(a.size());
  for (int64_t begin = 0; equal && begin < rows; begin += block) {
    const int64_t count = std::min(block, rows - begin);
    source_.read_rows(copy, begin, count, a.data());
    source_.read_rows(original, begin, count, b.data());
    equal = std::equal(a.begin(), a.begin() + count * cols, b.begin());
  }
  if (!equal)
    throw Error(ErrorCode::kAdapterUnsupported, "Expected the numbers of " + original.name + " in the adapter's tensor " + copy.name +
                                                    ", received others. Save the adapter without it.");
}

}  // namespace lowrank
