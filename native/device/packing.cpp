#include "device/packing.h"

#include <algorithm>
#include <cstring>

#include "backend/matrix_rows.h"
#include "core/error.h"
#include "core/float16.h"

namespace lowrank::device {
namespace {

constexpr int32_t kRowGrain = 16;  // rows of a matrix are padded to it
constexpr size_t kReadBytes = size_t{1} << 20;

size_t row_bytes(const DeviceMatrix& matrix) { return lowrank::row_bytes(matrix.scheme, matrix.cols); }

// 0 where weights have no scales.
size_t scale_row_bytes(const MatrixSpec& spec) {
  return static_cast<size_t>(scales_of_row(spec.scheme, spec.cols)) * scale_bytes(spec.scheme);
}

// Kernels know one size of scale groups.
void check_scale_group(const QuantScheme& scheme) {
  if (scheme.activations != ActivationFormat::kInt8 || scheme.group == kScaleGroup) return;
  throw Error(ErrorCode::kBackendUnavailable, "Expected " + std::to_string(kScaleGroup) +
                                                  " for the channels of a scale group on a CUDA device, received " +
                                                  std::to_string(scheme.group) + ". Use that size, or the CPU.");
}

// Lays out some rows in the host's memory, then copies them to the device.
class RowWriter {
 public:
  RowWriter(const OpenDevice& device, DeviceMatrix& matrix)
      : device_(device), matrix_(matrix), quantizer_(matrix.spec), scale_bytes_(scale_row_bytes(matrix.spec)) {}

  void write(int32_t row_begin, int32_t row_count, const float* x) {
    const auto rows = static_cast<size_t>(row_count);
    data_.assign(rows * row_bytes(matrix_), 0);
    scale_.assign(rows * scale_bytes_, 0);
    outliers_.assign(matrix_.spec.outliers.empty() ? 0 : rows * kMaxOutliers, 0);
    for (size_t i = 0; i < rows; ++i)
      lay_out(row_begin + static_cast<int32_t>(i), i, x + i * static_cast<size_t>(matrix_.cols));
    copy(matrix_.data, row_begin, row_bytes(matrix_), data_);
    copy(matrix_.scale, row_begin, scale_bytes_, scale_);
    copy(matrix_.outliers, row_begin, kMaxOutliers * sizeof(uint16_t), outliers_);
  }

 private:
  // Row `row` of the matrix as number i of those to be written; x [cols].
  void lay_out(int32_t row, size_t i, const float* x) {
    check_finite_row(matrix_.scheme.weights, row, x, matrix_.cols);
    uint8_t* data = data_.data() + i * row_bytes(matrix_);
    if (is_quantized(matrix_.scheme.weights))
      lay_out_int8(quantizer_.quantize(row, x), i, data);
    else if (matrix_.scheme.weights == WeightFormat::kBFloat16)
      for (int32_t k = 0; k < matrix_.cols; ++k) reinterpret_cast<uint16_t*>(data)[k] = float32_to_bfloat16(x[k]);
    else
      std::memcpy(data, x, static_cast<size_t>(matrix_.cols) * sizeof(float));
  }
  void lay_out_int8(const QuantizedRow& row, size_t i, uint8_t* data) {
    std::memcpy(data, row.q, static_cast<size_t>(matrix_.view.stride));
    uint8_t* scale = scale_.data() + i * scale_bytes_;
    if (matrix_.scheme.activations == ActivationFormat::kInt8) {
      for (int32_t g = 0; g < scales_of_row(matrix_.scheme, matrix_.cols); ++g)
        reinterpret_cast<uint16_t*>(scale)[g] = float32_to_bfloat16(row.scale[g]);
    } else {
      std::memcpy(scale, row.scale, sizeof(float));
    }
    if (!outliers_.empty()) std::copy_n(row.outliers, matrix_.spec.outliers.size(), outliers_.data() + i * kMaxOutliers);
  }

  // Rows of `bytes` bytes from row_begin on.
  template <class T>
  void copy(const BackendMemory& to, int32_t row_begin, size_t bytes, const std::vector<T>& rows) {
    if (!rows.empty())
      device_.copy_in(to.as<uint8_t>() + static_cast<size_t>(row_begin) * bytes, rows.data(), rows.size() * sizeof(T));
  }

  const OpenDevice& device_;
  DeviceMatrix& matrix_;
  RowQuantizer quantizer_;
  size_t scale_bytes_;
  std::vector<uint8_t> data_, scale_;
  std::vector<uint16_t> outliers_;
};

// Rows of a matrix, read back.
struct HeldRows {
  HeldRows(const OpenDevice& device, const DeviceMatrix& matrix, int32_t row_begin, int32_t row_count) {
    const auto read = [&](auto& out, const BackendMemory& memory, size_t bytes) {
      if (memory.bytes() == 0) return;
      out.resize(static_cast<size_t>(row_count) * bytes);
      device.copy_out(out.data(), memory.as<uint8_t>() + static_cast<size_t>(row_begin) * bytes, out.size());
    };
    read(data, matrix.data, row_bytes(matrix));
    read(scale, matrix.scale, scale_row_bytes(matrix.spec));
    read(outliers, matrix.outliers, kMaxOutliers * sizeof(uint16_t));
  }
  std::vector<uint8_t> data, scale, outliers;
};

// The weights [begin …] of row i as they are held, before the inverse of the input transform.
void held_block(const DeviceMatrix& matrix, const HeldRows& rows, size_t i, int32_t begin, float (&block)[kRotationBlock]) {
  const uint8_t* data = rows.data.data() + i * row_bytes(matrix) + lowrank::row_bytes(matrix.scheme, begin);
  if (is_quantized(matrix.scheme.weights)) {
    const uint8_t* scales = rows.scale.data() + i * scale_row_bytes(matrix.spec);
    const float scale = matrix.scheme.activations == ActivationFormat::kInt8
                            ? bfloat16_to_float32(reinterpret_cast<const uint16_t*>(scales)[begin / matrix.scheme.group])
                            : *reinterpret_cast<const float*>(scales);
    for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = static_cast<float>(reinterpret_cast<const int8_t*>(data)[k]) * scale;
  } else if (matrix.scheme.weights == WeightFormat::kBFloat16) {
    for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = bfloat16_to_float32(reinterpret_cast<const uint16_t*>(data)[k]);
  } else {
    std::memcpy(block, data, sizeof block);
  }
}

void restore_row(const DeviceMatrix& matrix, const HeldRows& rows, size_t i, float* out) {
  const MatrixSpec& spec = matrix.spec;
  for (int32_t begin = 0; begin < matrix.cols; begin += kRotationBlock) {
    float block[kRotationBlock];
    held_block(matrix, rows, i, begin, block);
    const int32_t count = std::min(kRotationBlock, matrix.cols - begin);
    restore_block(spec.scheme.rotated, spec.smoothing.empty() ? nullptr : spec.smoothing.data() + begin, count, block);
    std::copy_n(block, count, out + begin);
  }
  if (spec.outliers.empty()) return;
  const auto* outliers = reinterpret_cast<const uint16_t*>(rows.outliers.data()) + i * kMaxOutliers;
  for (size_t j = 0; j < spec.outliers.size(); ++j) out[spec.outliers[j]] = bfloat16_to_float32(outliers[j]);
}

int32_t rows_at_a_time(const DeviceMatrix& matrix) {
  return static_cast<int32_t>(std::max<size_t>(1, kReadBytes / row_bytes(matrix)));
}

template <class T>
BackendMemory copied(OpenDevice& device, const std::vector<T>& values) {
  BackendMemory memory = device.allocate_uncleared(values.size() * sizeof(T));
  device.copy_in(memory.as<void>(), values.data(), memory.bytes());
  return memory;
}

}  // namespace

std::unique_ptr<DeviceMatrix> allocate_matrix(OpenDevice& device, const MatrixSpec& spec) {
  check_matrix_spec(spec);
  check_scale_group(spec.scheme);
  auto matrix = std::make_unique<DeviceMatrix>();
  matrix->spec = spec;
  matrix->rows = spec.rows;
  matrix->cols = spec.cols;
  matrix->scheme = spec.scheme;
  const auto rows = static_cast<size_t>(round_up(spec.rows, kRowGrain));
  matrix->view.stride = round_up(spec.cols, kActivationAlignment);
  matrix->data = device.allocate(rows * row_bytes(*matrix));
  matrix->scale = device.allocate(rows * scale_row_bytes(spec));
  if (!spec.smoothing.empty()) {
    std::vector<float> smoothing = spec.smoothing;
    smoothing.resize(static_cast<size_t>(matrix->view.stride));
    matrix->smoothing = copied(device, smoothing);
  }
  if (!spec.outliers.empty()) {
    matrix->outlier_ids = copied(device, spec.outliers);
    matrix->outliers = device.allocate(rows * kMaxOutliers * sizeof(uint16_t));
  }
  const auto outlier_count = static_cast<int32_t>(spec.outliers.size());
  matrix->input = {matrix->smoothing.as<float>(), spec.scheme.rotated, outlier_count, matrix->outlier_ids.as<int32_t>()};
  matrix->view = {matrix->data.as<void>(), matrix->scale.as<void>(), matrix->outliers.as<uint16_t>(), spec.rows, spec.cols,
                  matrix->view.stride,     outlier_count,            spec.scheme.weights,             spec.scheme.activations};
  for (const BackendMemory* part : {&matrix->data, &matrix->scale, &matrix->smoothing, &matrix->outlier_ids, &matrix->outliers})
    matrix->bytes += part->bytes();
  return matrix;
}

std::unique_ptr<DeviceMatrix> pack_matrix(OpenDevice& device, const MatrixSpec& spec, const RowReader& read, int threads) {
  auto matrix = allocate_matrix(device, spec);
  read_rows(matrix->spec, read, threads, kRowGrain, [&]() -> RowSink {
    const auto writer = std::make_shared<RowWriter>(device, *matrix);
    return [writer](int32_t row_begin, int32_t row_count, const float* x) { writer->write(row_begin, row_count, x); };
  });
  return matrix;
}

std::vector<MemoryRange> memory(const DeviceMatrix& matrix) {
  std::vector<MemoryRange> ranges;
  for (const BackendMemory* part : {&matrix.data, &matrix.scale, &matrix.outliers})
    if (part->bytes() != 0) ranges.push_back({part->as<void>(), part->bytes()});
  return ranges;
}

void unpack_rows(const OpenDevice& device, const DeviceMatrix& matrix, int32_t row_begin, int32_t row_count, float* out) {
  check_rows(matrix, row_begin, row_count);
  const int32_t most = rows_at_a_time(matrix);
  for (int32_t done = 0; done < row_count; done += most) {
    const int32_t count = std::min(most, row_count - done);
    const HeldRows rows(device, matrix, row_begin + done, count);
    for (int32_t i = 0; i < count; ++i)
      restore_row(matrix, rows, static_cast<size_t>(i),
                  out + static_cast<size_t>(done + i) * static_cast<size_t>(matrix.cols));
  }
}

uint64_t checksum(const OpenDevice& device, const DeviceMatrix& matrix) {
  Checksum sum;
  sum.add(static_cast<uint64_t>(matrix.rows) << 32 | static_cast<uint32_t>(matrix.cols));
  sum.add(static_cast<uint64_t>(matrix.scheme.weights) << 16 | static_cast<uint64_t>(matrix.scheme.activations) << 8 |
          (matrix.scheme.rotated ? 1u : 0u));
  for (const int32_t channel : matrix.spec.outliers)
    sum.add(static_cast<uint64_t>(channel));
  std::vector<uint8_t> block;
  // Each is a multiple of 8 bytes: of 16 rows, or of 64 channels.
  for (const BackendMemory* part : {&matrix.data, &matrix.scale, &matrix.smoothing, &matrix.outliers})
    for (size_t done = 0; done < part->bytes(); done += block.size()) {
      block.resize(std::min(kReadBytes, part->bytes() - done));
      device.copy_out(block.data(), part->as<uint8_t>() + done, block.size());
      sum.add(block.data(), block.size());
    }
  return sum.value();
}

}  // namespace lowrank::device
