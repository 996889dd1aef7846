#include "backend/matrix_rows.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

#include "core/error.h"
#include "core/float16.h"
#include "quant/int8.h"
#include "quant/rotation.h"
#include "quant/scheme_name.h"

namespace lowrank {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;  // float rows that one thread reads at a time

[[noreturn]] void throw_not_finite(int32_t row) {
  throw Error(ErrorCode::kModelFormat,
              "Expected finite numbers for a weight matrix, received NaN or infinity in row " +
                  std::to_string(row) + ". The file may be damaged: fetch it again.");
}

// Hands out blocks of rows to the threads of one matrix, and keeps the first exception of any of them.
class BlockQueue {
 public:
  BlockQueue(int32_t rows, int32_t block_rows) : rows_(rows), block_rows_(block_rows) {}

  int32_t blocks() const { return (rows_ + block_rows_ - 1) / block_rows_; }
  int32_t block_rows() const { return block_rows_; }

  // The next block, or an empty one where none is left or a thread has failed.
  Range next() {
    const int64_t begin = failed_ ? rows_ : next_.fetch_add(block_rows_);
    return {static_cast<int32_t>(std::min<int64_t>(begin, rows_)),
            static_cast<int32_t>(std::min<int64_t>(begin + block_rows_, rows_))};
  }
  void fail(std::exception_ptr error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }
  // Once all threads have finished.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const int32_t rows_;
  const int32_t block_rows_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

void read_blocks(int32_t cols, const RowReader& read, const std::function<RowSink()>& make_sink, BlockQueue& queue) noexcept {
  try {
    const auto rows = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(queue.block_rows()) *
                                                              static_cast<size_t>(cols));  // [block_rows, cols]
    const RowSink sink = make_sink();
    for (Range block = queue.next(); block.begin < block.end; block = queue.next()) {
      read(block.begin, block.end - block.begin, rows.get());
      sink(block.begin, block.end - block.begin, rows.get());
    }
  } catch (...) {
    queue.fail(std::current_exception());
  }
}

}  // namespace

void check_bound(int64_t value, int64_t largest, const char* name) {
  if (value >= 1 && value <= largest) return;
  throw Error(ErrorCode::kInvalidArgument, "Expected 1 to " + std::to_string(largest) + " for " + name +
                                               ", received " + std::to_string(value) + ".");
}

void check_matrix_spec(const MatrixSpec& spec) {
  check_bound(spec.rows, kMaxMatrixRows, "the rows of a weight matrix");
  check_bound(spec.cols, kMaxMatrixCols, "the columns of a weight matrix");
  const QuantScheme& scheme = spec.scheme;
  if (scheme.activations == ActivationFormat::kInt8) {
    if (!is_quantized(scheme.weights))
      throw Error(ErrorCode::kInvalidArgument, std::string("Expected float32 activations for a matrix in ") +
                                                   format_name(scheme.weights) + ", received int8 activations.");
    if (!is_scale_group(scheme.group))
      throw Error(ErrorCode::kInvalidArgument,
                  "Expected 64, 128 or 256 for the channels of a scale group, received " + std::to_string(scheme.group) + ".");
  } else if (scheme.rotated || !spec.outliers.empty() || !spec.smoothing.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "Expected int8 activations for a matrix with an input transform.");
  }
  if (scheme.smoothed != !spec.smoothing.empty() || scheme.outliers != static_cast<int32_t>(spec.outliers.size()))
    throw Error(ErrorCode::kInvalidArgument, "Expected the input transform of the scheme " + scheme_name(scheme) +
                                                 " for a matrix, received " + std::to_string(spec.outliers.size()) +
                                                 " outlier channels and " + std::to_string(spec.smoothing.size()) +
                                                 " factors of smoothing.");
  if (!spec.smoothing.empty() && spec.smoothing.size() != static_cast<size_t>(spec.cols))
    throw Error(ErrorCode::kInvalidArgument, "Expected " + std::to_string(spec.cols) +
                                                 " factors for the smoothing of a matrix, received " +
                                                 std::to_string(spec.smoothing.size()) + ".");
  for (const float factor : spec.smoothing)
    if (!(factor > 0.0f) || !std::isfinite(factor))
      throw Error(ErrorCode::kInvalidArgument, "Expected finite factors above zero for the smoothing of a matrix, received " +
                                                   std::to_string(factor) + ".");
  if (spec.outliers.size() > static_cast<size_t>(kMaxOutliers))
    throw Error(ErrorCode::kInvalidArgument, "Expected at most " + std::to_string(kMaxOutliers) +
                                                 " outlier channels, received " + std::to_string(spec.outliers.size()) + ".");
  for (size_t j = 0; j < spec.outliers.size(); ++j)
    if (spec.outliers[j] < (j == 0 ? 0 : spec.outliers[j - 1] + 1) || spec.outliers[j] >= spec.cols)
      throw Error(ErrorCode::kInvalidArgument, "Expected ascending channels below " + std::to_string(spec.cols) +
                                                   " for the outliers of a matrix, received " +
                                                   std::to_string(spec.outliers[j]) + ".");
}

void check_matmul_kernel(const OpTable& ops, const std::string& backend, const QuantScheme& wanted) {
  if (ops.matmul_kernels.find(wanted) != nullptr) return;
  std::string known;
  for (int w = 0; w < kWeightFormats; ++w)
    for (int a = 0; a < kActivationFormats; ++a) {
      QuantScheme scheme;
      scheme.weights = static_cast<WeightFormat>(w);
      scheme.activations = static_cast<ActivationFormat>(a);
      if (ops.matmul_kernels.find(scheme) == nullptr) continue;
      known += std::string(known.empty() ? "" : ", ") + format_name(scheme.weights) + " with " + format_name(scheme.activations);
    }
  throw Error(ErrorCode::kBackendUnavailable, std::string("Expected weights and activations that ") + backend +
                                                  " multiplies, received " + format_name(wanted.weights) + " weights with " +
                                                  format_name(wanted.activations) + " activations. It has: " + known + ".");
}

void check_finite_row(WeightFormat format, int32_t row, const float* x, int32_t cols) {
  const uint32_t absmax = max_magnitude_bits(x, cols);
  if (absmax >= kInfinityBits) throw_not_finite(row);
  // Rounding up to bfloat16 may leave its range.
  if (format == WeightFormat::kBFloat16 && float32_to_bfloat16(std::bit_cast<float>(absmax)) >= (kInfinityBits >> 16))
    throw_not_finite(row);
}

RowQuantizer::RowQuantizer(const MatrixSpec& spec)
    : spec_(spec),
      padded_(round_up(spec.cols, kActivationAlignment)),
      q_(static_cast<size_t>(padded_)),
      scale_(static_cast<size_t>(scales_of_row(spec.scheme, spec.cols))),
      transformed_(static_cast<size_t>(padded_)),
      outliers_(spec.outliers.size()) {}

QuantizedRow RowQuantizer::quantize(int32_t row, const float* x) {
  const float* weights = transform(row, x);
  const bool grouped = spec_.scheme.activations == ActivationFormat::kInt8;
  const int32_t group = grouped ? spec_.scheme.group : padded_;
  for (int32_t i = 0; i < static_cast<int32_t>(scale_.size()); ++i) {
    const int32_t begin = i * group;
    const float scale = quantize_weights_int8(weights + begin, std::min(group, padded_ - begin),
                                              grouped ? ScaleFormat::kBFloat16 : ScaleFormat::kFloat32, q_.data() + begin);
    if (!std::isfinite(scale)) throw_not_finite(row);  // the transform may leave float32's range
    scale_[static_cast<size_t>(i)] = scale;
  }
  return {q_.data(), scale_.data(), outliers_.data()};
}

// [padded]: x without its outlier channels, which go to their columns, divided by the smoothing, and rotated.
const float* RowQuantizer::transform(int32_t row, const float* x) {
  float* v = transformed_.data();
  std::copy_n(x, spec_.cols, v);
  std::fill(v + spec_.cols, v + padded_, 0.0f);
  for (size_t j = 0; j < outliers_.size(); ++j) {
    float& outlier = v[spec_.outliers[j]];
    outliers_[j] = float32_to_bfloat16(outlier);
    if (!std::isfinite(bfloat16_to_float32(outliers_[j]))) throw_not_finite(row);
    outlier = 0.0f;
  }
  if (!spec_.smoothing.empty())
    for (int32_t k = 0; k < spec_.cols; ++k)
      v[k] /= spec_.smoothing[static_cast<size_t>(k)];
  if (spec_.scheme.rotated)
    for (int32_t k = 0; k < padded_; k += kRotationBlock)
      rotate_block(v + k);
  return v;
}

void restore_block(bool rotated, const float* smoothing, int32_t count, float* block) {
  if (rotated) rotate_block(block);
  if (smoothing == nullptr) return;
  for (int32_t k = 0; k < count; ++k)
    block[k] *= smoothing[k];
}

// Own threads, not the process's pool: a pack lasts far longer than a step, and the steps of other models
// must not wait for it.
void read_rows(const MatrixSpec& spec, const RowReader& read, int threads, int32_t grain,
               const std::function<RowSink()>& make_sink) {
  const size_t grain_bytes = static_cast<size_t>(grain) * static_cast<size_t>(spec.cols) * sizeof(float);
  BlockQueue queue(spec.rows, static_cast<int32_t>(std::max<size_t>(1, kBlockBytes / grain_bytes)) * grain);
  std::vector<std::thread> workers;
  try {
    for (int i = 1; i < std::min(threads, queue.blocks()); ++i)
      workers.emplace_back([&] { read_blocks(spec.cols, read, make_sink, queue); });
  } catch (const std::exception&) {
    // The system grants no further thread: those that run do the work.
  }
  read_blocks(spec.cols, read, make_sink, queue);
  for (std::thread& worker : workers)
    worker.join();
  queue.rethrow();
}

void check_rows(const Matrix& matrix, int32_t row_begin, int32_t row_count) {
  if (row_begin >= 0 && row_count >= 0 && row_count <= matrix.rows - row_begin) return;
  throw Error(ErrorCode::kInvalidArgument, "Expected rows below " + std::to_string(matrix.rows) +
                                               " for unpacking a weight matrix, received " + std::to_string(row_count) +
                                               " rows from " + std::to_string(row_begin) + " on.");
}

void Checksum::add(uint64_t word) {
  state_ = std::rotl((state_ ^ word) * 0x9e3779b97f4a7c15u, 29);  // an odd factor: 2^64 over the golden ratio
}

void Checksum::add(const void* data, size_t bytes) {
  for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, static_cast<const uint8_t*>(data) + i, sizeof word);
    add(word);
  }
}

}  // namespace lowrank
