#include "cpu/packing.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "backend/lora_values.h"
#include "backend/matrix_rows.h"
#include "core/float16.h"

namespace lowrank::cpu {
namespace {

constexpr uint8_t kZeroPoint = 128;  // what stands for 0 among the packed int8 weights

// Where the bfloat16 scale of a row's group lies.
size_t scale_offset(const PackedMatrix& matrix, int32_t row, int32_t group) {
  const auto groups = static_cast<size_t>(matrix.groups());
  return (static_cast<size_t>(row / kTileRows) * groups + static_cast<size_t>(group)) * kTileRows +
         static_cast<size_t>(row % kTileRows);
}

template <class T>
T* writable_tile(PackedMatrix& matrix, int32_t row) {
  return const_cast<T*>(tile_of_row<T>(matrix, row));
}

// Packs rows one at a time.
class RowPacker {
 public:
  RowPacker(PackedMatrix& matrix, const MatrixSpec& spec) : matrix_(matrix), quantizer_(spec) {}

  // x [cols]
  void pack(int32_t row, const float* x) {
    check_finite_row(matrix_.scheme.weights, row, x, matrix_.cols);
    switch (matrix_.scheme.weights) {
      case WeightFormat::kInt8: pack_int8(row, quantizer_.quantize(row, x)); return;
      case WeightFormat::kBFloat16: scatter<uint16_t>(row, x, float32_to_bfloat16); return;
      case WeightFormat::kFloat32: scatter<float>(row, x, [](float value) { return value; }); return;
    }
  }

 private:
  void pack_int8(int32_t row, const QuantizedRow& quantized) {
    for (int32_t i = 0; i < matrix_.groups(); ++i)
      if (matrix_.scheme.activations == ActivationFormat::kInt8)
        matrix_.scale.as<uint16_t>()[scale_offset(matrix_, row, i)] = float32_to_bfloat16(quantized.scale[i]);
      else
        matrix_.scale.as<float>()[row] = quantized.scale[i];
    if (matrix_.outlier_store != nullptr) {
      auto& columns = static_cast<PackedFactor&>(*matrix_.outlier_store);
      for (int32_t j = 0; j < columns.rank; ++j)
        columns.data.as<uint16_t>()[factor_b_offset(columns, row, j)] = quantized.outliers[j];
    }
    auto* tile = writable_tile<uint8_t>(matrix_, row);
    // Four at a time: q + 128 is q with its top bit flipped. The padding of q is 0, so the tile's becomes
    // 128.
    for (int32_t k = 0; k < matrix_.padded_cols(); k += kTileDepth) {
      uint32_t four;
      std::memcpy(&four, quantized.q + k, sizeof four);
      four ^= 0x80808080u;
      std::memcpy(tile + tile_offset(kTileDepth, row % kTileRows, k), &four, sizeof four);
    }
  }

  template <class T, class Convert>
  void scatter(int32_t row, const float* x, Convert convert) {
    T* tile = writable_tile<T>(matrix_, row);
    const int32_t depth = tile_depth(matrix_.scheme.weights);
    for (int32_t k = 0; k < matrix_.cols; ++k)
      tile[tile_offset(depth, row % kTileRows, k)] = convert(x[k]);
  }

  PackedMatrix& matrix_;
  RowQuantizer quantizer_;
};

// A factor without its memory.
std::unique_ptr<PackedFactor> shape_factor(int32_t rank, int32_t dimension, LoraDType dtype, bool is_a) {
  check_factor_shape(rank, dimension);
  auto factor = std::make_unique<PackedFactor>();
  factor->rank = rank;
  factor->dimension = dimension;
  factor->dtype = dtype;
  factor->is_a = is_a;
  const int32_t padded = round_up(dimension, is_a ? kActivationAlignment : kTileRows);
  if (is_a) factor->stride = padded;
  factor->bytes = static_cast<size_t>(is_a ? rank : factor_b_ranks(*factor)) * static_cast<size_t>(padded) * element_bytes(dtype);
  return factor;
}

std::unique_ptr<PackedFactor> make_factor(int32_t rank, int32_t dimension, LoraDType dtype, bool is_a) {
  auto factor = shape_factor(rank, dimension, dtype, is_a);
  factor->data = BufferPart(Buffer(factor->bytes));
  return factor;
}

}  // namespace

namespace {

// The elements [begin, begin + kRotationBlock) of a row's tile, where a format's lie `depth` side by side.
template <class T, class Store>
void for_each_element(const PackedMatrix& matrix, int32_t row, int32_t begin, Store store) {
  const int32_t depth = tile_depth(matrix.scheme.weights);
  const T* const tile = tile_of_row<T>(matrix, row) + tile_offset(depth, row % kTileRows, begin);
  for (int32_t k = 0; k < kRotationBlock; ++k) store(k, tile[tile_offset(depth, 0, k)]);
}

}  // namespace

void held_integers(const PackedMatrix& matrix, int32_t row, int32_t begin, int8_t (&block)[kRotationBlock]) {
  for_each_element<uint8_t>(matrix, row, begin, [&](int32_t k, uint8_t held) { block[k] = static_cast<int8_t>(held - kZeroPoint); });
}

void held_block(const PackedMatrix& matrix, int32_t row, int32_t begin, float (&block)[kRotationBlock]) {
  if (is_quantized(matrix.scheme.weights)) {
    int8_t integers[kRotationBlock];
    held_integers(matrix, row, begin, integers);
    const float scale = scale_of(matrix, row, begin);  // no block lies in two groups
    for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = static_cast<float>(integers[k]) * scale;
  } else if (matrix.scheme.weights == WeightFormat::kBFloat16) {
    for_each_element<uint16_t>(matrix, row, begin, [&](int32_t k, uint16_t held) { block[k] = bfloat16_to_float32(held); });
  } else {
    for_each_element<float>(matrix, row, begin, [&](int32_t k, float held) { block[k] = held; });
  }
}

float scale_of(const PackedMatrix& matrix, int32_t row, int32_t k) {
  if (matrix.scheme.activations != ActivationFormat::kInt8) return matrix.scale.as<float>()[row];
  return bfloat16_to_float32(matrix.scale.as<uint16_t>()[scale_offset(matrix, row, k / matrix.scheme.group)]);
}

void unpack_row(const PackedMatrix& matrix, int32_t row, float* out) {
  for (int32_t begin = 0; begin < matrix.cols; begin += kRotationBlock) {
    float block[kRotationBlock];
    held_block(matrix, row, begin, block);
    const int32_t count = std::min(kRotationBlock, matrix.cols - begin);
    const float* smoothing = matrix.input.smoothing == nullptr ? nullptr : matrix.input.smoothing + begin;
    restore_block(matrix.input.rotated, smoothing, count, block);
    std::copy_n(block, count, out + begin);
  }
  if (matrix.outlier_columns == nullptr) return;
  const auto& columns = static_cast<const PackedFactor&>(*matrix.outlier_columns);
  for (int32_t j = 0; j < columns.rank; ++j)
    out[matrix.input.outliers[j]] =
        bfloat16_to_float32(columns.data.as<uint16_t>()[factor_b_offset(columns, row, j)]);
}

namespace {

// Gives a matrix's memory, range by range in the order of memory().
using Provider = std::function<BufferPart(size_t bytes)>;

std::unique_ptr<PackedMatrix> shape_packed(const MatrixSpec& spec, const Provider& provide) {
  check_matrix_spec(spec);
  auto matrix = std::make_unique<PackedMatrix>();
  matrix->rows = spec.rows;
  matrix->cols = spec.cols;
  matrix->scheme = spec.scheme;
  matrix->group_count = spec.scheme.activations == ActivationFormat::kInt8 ? scale_groups(spec.cols, spec.scheme.group) : 1;
  const auto padded_rows = static_cast<size_t>(matrix->padded_rows());
  const auto padded_cols = static_cast<size_t>(matrix->padded_cols());
  matrix->data = provide(padded_rows * row_bytes(spec.scheme, spec.cols));
  if (is_quantized(spec.scheme.weights))
    matrix->scale = provide(padded_rows * static_cast<size_t>(scales_of_row(spec.scheme, spec.cols)) * scale_bytes(spec.scheme));
  matrix->bytes = matrix->data.bytes() + matrix->scale.bytes();
  matrix->input.rotated = spec.scheme.rotated;
  if (!spec.smoothing.empty()) {
    matrix->smoothing = Buffer(padded_cols * sizeof(float));
    std::copy(spec.smoothing.begin(), spec.smoothing.end(), matrix->smoothing.as<float>());
    matrix->input.smoothing = matrix->smoothing.as<float>();
    matrix->bytes += matrix->smoothing.bytes();
  }
  if (!spec.outliers.empty()) {
    matrix->outlier_ids = spec.outliers;
    matrix->input.outlier_count = static_cast<int32_t>(spec.outliers.size());
    matrix->input.outliers = matrix->outlier_ids.data();
    auto columns = shape_factor(matrix->input.outlier_count, spec.rows, LoraDType::kBFloat16, false);
    columns->data = provide(columns->bytes);
    matrix->outlier_store = std::move(columns);
    matrix->outlier_columns = matrix->outlier_store.get();
    matrix->bytes += matrix->outlier_store->bytes;
  }
  return matrix;
}

std::unique_ptr<PackedMatrix> allocate_packed(const MatrixSpec& spec) {
  auto matrix = shape_packed(spec, [](size_t bytes) { return BufferPart(Buffer(bytes)); });
  if (spec.scheme.weights == WeightFormat::kInt8 && matrix->rows != matrix->padded_rows())
    std::memset(writable_tile<uint8_t>(*matrix, matrix->rows), kZeroPoint, tile_bytes(spec.scheme, spec.cols));
  return matrix;
}

}  // namespace

std::unique_ptr<Matrix> place_matrix(const MatrixSpec& spec, const GivenWeights& given) {
  uint64_t at = 0;
  return shape_packed(spec, [&](size_t bytes) {
    const uint64_t begin = aligned_range(at);
    at = begin + bytes;
    // Never written to: what is written to is what allocate_packed made.
    return BufferPart(given.owner, const_cast<uint8_t*>(given.data) + begin, bytes);
  });
}

std::unique_ptr<Matrix> allocate_matrix(const MatrixSpec& spec) { return allocate_packed(spec); }

std::vector<MemoryRange> memory(const PackedMatrix& matrix) {
  std::vector<MemoryRange> ranges = {{matrix.data.as<void>(), matrix.data.bytes()},
                                     {matrix.scale.as<void>(), matrix.scale.bytes()}};
  if (matrix.outlier_store != nullptr) {
    const BufferPart& columns = static_cast<const PackedFactor&>(*matrix.outlier_store).data;
    ranges.push_back({columns.as<void>(), columns.bytes()});
  }
  return ranges;
}

std::unique_ptr<Matrix> pack_matrix(const MatrixSpec& spec, const RowReader& read, int threads) {
  auto matrix = allocate_packed(spec);
  // No two threads write one tile.
  read_rows(spec, read, threads, kTileRows, [&]() -> RowSink {
    const auto packer = std::make_shared<RowPacker>(*matrix, spec);
    return [packer, cols = static_cast<size_t>(spec.cols)](int32_t row_begin, int32_t row_count, const float* x) {
      for (int32_t i = 0; i < row_count; ++i)
        packer->pack(row_begin + i, x + static_cast<size_t>(i) * cols);
    };
  });
  return matrix;
}

void unpack_rows(const PackedMatrix& matrix, int32_t row_begin, int32_t row_count, float* out) {
  check_rows(matrix, row_begin, row_count);
  for (int32_t i = 0; i < row_count; ++i)
    unpack_row(matrix, row_begin + i, out + static_cast<size_t>(i) * static_cast<size_t>(matrix.cols));
}

uint64_t checksum(const PackedMatrix& matrix) {
  // Every buffer of a packed matrix is a multiple of 64 bytes.
  Checksum sum;
  sum.add(static_cast<uint64_t>(matrix.rows) << 32 | static_cast<uint32_t>(matrix.cols));
  sum.add(static_cast<uint64_t>(matrix.scheme.weights) << 8 | static_cast<uint64_t>(matrix.scheme.activations) |
          static_cast<uint64_t>(matrix.scheme.group) << 16);
  sum.add(matrix.data.as<void>(), matrix.data.bytes());
  sum.add(matrix.scale.as<void>(), matrix.scale.bytes());
  sum.add(matrix.smoothing.as<void>(), matrix.smoothing.bytes());
  for (const int32_t channel : matrix.outlier_ids)
    sum.add(static_cast<uint64_t>(channel));
  sum.add(matrix.input.rotated ? 1 : 0);
  if (matrix.outlier_store != nullptr) {
    const BufferPart& columns = static_cast<const PackedFactor&>(*matrix.outlier_store).data;
    sum.add(columns.as<void>(), columns.bytes());
  }
  return sum.value();
}

std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) {
  auto factor = make_factor(rank, in, dtype, true);
  const auto width = static_cast<size_t>(factor_a_width(dtype));
  for (int32_t r = 0; r < rank; ++r) {
    const size_t begin = factor_a_offset(*factor, r, 0);
    const size_t step = static_cast<size_t>(group_ranks(*factor, r)) * width;
    store_factor(dtype, a + static_cast<size_t>(r) * static_cast<size_t>(in), static_cast<size_t>(in),
                 factor->data.as<void>(), [&](size_t k) { return begin + k / width * step + k % width; });
  }
  return factor;
}

std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) {
  auto factor = make_factor(rank, out, dtype, false);
  for (int32_t n = 0; n < out; ++n) {
    store_factor(dtype, b + static_cast<size_t>(n) * static_cast<size_t>(rank), static_cast<size_t>(rank),
                 factor->data.as<void>(), [&](size_t r) { return factor_b_offset(*factor, n, static_cast<int32_t>(r)); });
  }
  return factor;
}

void join_factors(const std::vector<LoraFactor*>& factors) {
  constexpr size_t kLine = 64;
  const auto aligned = [](size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; };
  size_t bytes = 0;
  for (const LoraFactor* factor : factors) bytes += aligned(factor->bytes);
  const auto joined = std::make_shared<const Buffer>(bytes, Buffer::Pages::kOwn);
  size_t begin = 0;
  for (LoraFactor* factor : factors) {
    BufferPart& data = static_cast<PackedFactor&>(*factor).data;
    std::memcpy(joined->as<uint8_t>() + begin, data.as<uint8_t>(), factor->bytes);
    data = BufferPart(joined, begin, factor->bytes);
    begin += aligned(factor->bytes);
  }
}

}  // namespace lowrank::cpu
