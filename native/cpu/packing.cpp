#include "cpu/packing.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/float16.h"
#include "quant/int8.h"
#include "quant/rotation.h"

namespace lowrank::cpu {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;  // float rows that one thread reads at a time
constexpr uint8_t kZeroPoint = 128;              // what stands for 0 among the packed int8 weights

void check_bound(int64_t value, int64_t largest, const char* name) {
  if (value >= 1 && value <= largest) return;
  throw Error(ErrorCode::kInvalidArgument, "Expected 1 to " + std::to_string(largest) + " for " + name +
                                               ", received " + std::to_string(value) + ".");
}

void check_spec(const MatrixSpec& spec) {
  check_bound(spec.rows, kMaxMatrixRows, "the rows of a weight matrix");
  check_bound(spec.cols, kMaxMatrixCols, "the columns of a weight matrix");
  if (spec.activation == ActivationFormat::kInt8 && spec.format != WeightFormat::kInt8)
    throw Error(ErrorCode::kInvalidArgument,
                "Expected float32 activations for a matrix that is not int8, received int8 activations.");
  if (spec.activation != ActivationFormat::kInt8 && (spec.rotated || !spec.outliers.empty() || !spec.smoothing.empty()))
    throw Error(ErrorCode::kInvalidArgument, "Expected int8 activations for a matrix with an input transform.");
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

[[noreturn]] void throw_not_finite(int32_t row) {
  throw Error(ErrorCode::kModelFormat,
              "Expected finite numbers for a weight matrix, received NaN or infinity in row " +
                  std::to_string(row) + ". The file may be damaged: fetch it again.");
}

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
  explicit RowPacker(PackedMatrix& matrix)
      : matrix_(matrix),
        q_(static_cast<size_t>(matrix.padded_cols()), Buffer::Pages::kSmall),
        transformed_(static_cast<size_t>(matrix.padded_cols()) * sizeof(float), Buffer::Pages::kSmall) {}

  // x [cols]
  void pack(int32_t row, const float* x) {
    const uint32_t absmax = max_magnitude_bits(x, matrix_.cols);
    if (absmax >= kInfinityBits) throw_not_finite(row);
    switch (matrix_.format) {
      case WeightFormat::kInt8: pack_int8(row, x); return;
      case WeightFormat::kBFloat16:
        // Rounding up to bfloat16 may leave its range.
        if (float32_to_bfloat16(std::bit_cast<float>(absmax)) >= (kInfinityBits >> 16)) throw_not_finite(row);
        scatter<uint16_t>(row, x, float32_to_bfloat16);
        return;
      case WeightFormat::kFloat32: scatter<float>(row, x, [](float value) { return value; }); return;
    }
  }

 private:
  void pack_int8(int32_t row, const float* x) {
    auto* q = q_.as<int8_t>();
    const float* weights = transform(row, x);
    const int32_t padded = matrix_.padded_cols();
    for (int32_t i = 0; i < matrix_.groups(); ++i) {
      const int32_t begin = i * kScaleGroup;
      const int32_t count = matrix_.groups() == 1 ? padded : std::min(kScaleGroup, padded - begin);
      const ScaleFormat format =
          matrix_.activation == ActivationFormat::kInt8 ? ScaleFormat::kBFloat16 : ScaleFormat::kFloat32;
      const float scale = quantize_weights_int8(weights + begin, count, format, q + begin);
      if (!std::isfinite(scale)) throw_not_finite(row);  // the transform may leave float32's range
      if (format == ScaleFormat::kBFloat16)
        matrix_.scale.as<uint16_t>()[scale_offset(matrix_, row, i)] = float32_to_bfloat16(scale);
      else
        matrix_.scale.as<float>()[row] = scale;
    }
    auto* tile = writable_tile<uint8_t>(matrix_, row);
    // Four at a time: q + 128 is q with its top bit flipped. The padding of q is 0, so the tile's becomes
    // 128.
    for (int32_t k = 0; k < padded; k += kTileDepth) {
      uint32_t four;
      std::memcpy(&four, q + k, sizeof four);
      four ^= 0x80808080u;
      std::memcpy(tile + tile_offset(kTileDepth, row % kTileRows, k), &four, sizeof four);
    }
  }

  // [padded_cols]: x without its outlier channels, which go to their columns, divided by the smoothing, and rotated.
  const float* transform(int32_t row, const float* x) {
    auto* v = transformed_.as<float>();
    std::copy_n(x, matrix_.cols, v);
    std::fill(v + matrix_.cols, v + matrix_.padded_cols(), 0.0f);
    for (int32_t j = 0; j < matrix_.input.outlier_count; ++j) {
      float& outlier = v[matrix_.input.outliers[j]];
      auto& columns = static_cast<PackedFactor&>(*matrix_.outlier_store);
      const uint16_t rounded = float32_to_bfloat16(outlier);
      if (!std::isfinite(bfloat16_to_float32(rounded))) throw_not_finite(row);
      columns.data.as<uint16_t>()[factor_b_offset(columns.rank, row, j)] = rounded;
      outlier = 0.0f;
    }
    if (matrix_.input.smoothing != nullptr)
      for (int32_t k = 0; k < matrix_.cols; ++k)
        v[k] /= matrix_.input.smoothing[k];
    if (matrix_.input.rotated)
      for (int32_t k = 0; k < matrix_.padded_cols(); k += kRotationBlock)
        rotate_block(v + k);
    return v;
  }

  template <class T, class Convert>
  void scatter(int32_t row, const float* x, Convert convert) {
    T* tile = writable_tile<T>(matrix_, row);
    const int32_t depth = tile_depth(matrix_.format);
    for (int32_t k = 0; k < matrix_.cols; ++k)
      tile[tile_offset(depth, row % kTileRows, k)] = convert(x[k]);
  }

  PackedMatrix& matrix_;
  Buffer q_;            // [ceil64(cols)] int8
  Buffer transformed_;  // [ceil64(cols)] float32
};

// Hands out blocks of rows to the threads of one pack, and keeps the first exception of any of them.
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
  const int32_t block_rows_;  // a multiple of kTileRows: no two threads write one tile
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

void pack_blocks(PackedMatrix& matrix, const RowReader& read, BlockQueue& queue) noexcept {
  try {
    const size_t cols = static_cast<size_t>(matrix.cols);
    const auto rows = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(queue.block_rows()) * cols);  // [block_rows, cols]
    RowPacker packer(matrix);
    for (Range block = queue.next(); block.begin < block.end; block = queue.next()) {
      read(block.begin, block.end - block.begin, rows.get());
      for (int32_t row = block.begin; row < block.end; ++row) {
        packer.pack(row, rows.get() + static_cast<size_t>(row - block.begin) * cols);
      }
    }
  } catch (...) {
    queue.fail(std::current_exception());
  }
}

// Own threads, not the process's pool: a pack lasts far longer than a step, and the steps of other models
// must not wait for it.
void pack_on_threads(PackedMatrix& matrix, const RowReader& read, BlockQueue& queue, int threads) {
  std::vector<std::thread> workers;
  try {
    for (int i = 1; i < std::min(threads, queue.blocks()); ++i)
      workers.emplace_back([&] { pack_blocks(matrix, read, queue); });
  } catch (const std::exception&) {
    // The system grants no further thread: those that run do the work.
  }
  pack_blocks(matrix, read, queue);
  for (std::thread& worker : workers)
    worker.join();
  queue.rethrow();
}

uint64_t hash_word(uint64_t state, uint64_t word) {
  return std::rotl((state ^ word) * 0x9e3779b97f4a7c15u, 29);  // an odd factor: 2^64 over the golden ratio
}

template <class Memory>
uint64_t hash_buffer(uint64_t state, const Memory& buffer) {
  // Every buffer of a packed matrix is a multiple of 64 bytes.
  for (size_t i = 0; i < buffer.bytes(); i += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, buffer.template as<uint8_t>() + i, sizeof word);
    state = hash_word(state, word);
  }
  return state;
}

std::unique_ptr<PackedFactor> make_factor(int32_t rank, int32_t dimension, LoraDType dtype, bool is_a) {
  check_bound(rank, kMaxLoraRank, "the rank of a LoRA factor");
  check_bound(dimension, kMaxMatrixRows, "the size of a LoRA factor");
  auto factor = std::make_unique<PackedFactor>();
  factor->rank = rank;
  factor->dimension = dimension;
  factor->dtype = dtype;
  factor->is_a = is_a;
  const int32_t padded = round_up(dimension, is_a ? kActivationAlignment : kTileRows);
  if (is_a) factor->stride = padded;
  factor->bytes = static_cast<size_t>(rank) * static_cast<size_t>(padded) * element_bytes(dtype);
  factor->data = BufferPart(Buffer(factor->bytes));
  return factor;
}

[[noreturn]] void throw_factor_not_finite() {
  throw Error(ErrorCode::kAdapterFormat,
              "Expected finite numbers for the weights of an adapter, received NaN or infinity.");
}

[[noreturn]] void throw_factor_not_int8() {
  throw Error(ErrorCode::kInvalidArgument, "Expected integers from -127 to 127 for an int8 factor, received other numbers.");
}

// Stores x[i] at `at(i)`. The checks come after the loops, which compilers then vectorise.
template <class At>
void store_factor(PackedFactor& factor, const float* x, size_t count, At at) {
  switch (factor.dtype) {
    case LoraDType::kBFloat16: {
      uint32_t largest = 0;
      auto* out = factor.data.as<uint16_t>();
      for (size_t i = 0; i < count; ++i) {
        const uint16_t rounded = float32_to_bfloat16(x[i]);
        largest = std::max(largest, static_cast<uint32_t>(rounded & 0x7fffu) << 16);
        out[at(i)] = rounded;
      }
      if (largest >= kInfinityBits) throw_factor_not_finite();
      return;
    }
    case LoraDType::kFloat32: {
      auto* out = factor.data.as<float>();
      for (size_t i = 0; i < count; ++i)
        out[at(i)] = x[i];
      if (max_magnitude_bits(x, static_cast<int64_t>(count)) >= kInfinityBits) throw_factor_not_finite();
      return;
    }
    case LoraDType::kInt8: {
      if (max_magnitude_bits(x, static_cast<int64_t>(count)) > magnitude_bits(kInt8Max)) throw_factor_not_int8();
      auto* out = factor.data.as<int8_t>();
      bool whole = true;
      for (size_t i = 0; i < count; ++i) {
        const int32_t q = round_half_even(x[i]);
        whole = whole && static_cast<float>(q) == x[i];
        out[at(i)] = static_cast<int8_t>(q);
      }
      if (!whole) throw_factor_not_int8();
      return;
    }
  }
}

}  // namespace

namespace {

// The weights [row, begin …] of a block of the rotation as they are held, before the inverse of the input transform.
void held_block(const PackedMatrix& matrix, int32_t row, int32_t begin, float (&block)[kRotationBlock]) {
  const int32_t depth = tile_depth(matrix.format);
  const size_t first = tile_offset(depth, row % kTileRows, begin);
  const auto offset = [&](int32_t k) { return first + tile_offset(depth, 0, k); };
  switch (matrix.format) {
    case WeightFormat::kInt8: {
      const uint8_t* weights = tile_of_row<uint8_t>(matrix, row);
      const float scale = scale_of(matrix, row, begin);  // no block lies in two groups
      for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = static_cast<float>(weights[offset(k)] - kZeroPoint) * scale;
      break;
    }
    case WeightFormat::kBFloat16: {
      const uint16_t* weights = tile_of_row<uint16_t>(matrix, row);
      for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = bfloat16_to_float32(weights[offset(k)]);
      break;
    }
    case WeightFormat::kFloat32: {
      const float* weights = tile_of_row<float>(matrix, row);
      for (int32_t k = 0; k < kRotationBlock; ++k) block[k] = weights[offset(k)];
      break;
    }
  }
}

}  // namespace

float scale_of(const PackedMatrix& matrix, int32_t row, int32_t k) {
  if (matrix.activation != ActivationFormat::kInt8) return matrix.scale.as<float>()[row];
  return bfloat16_to_float32(matrix.scale.as<uint16_t>()[scale_offset(matrix, row, k / kScaleGroup)]);
}

void unpack_row(const PackedMatrix& matrix, int32_t row, float* out) {
  for (int32_t begin = 0; begin < matrix.cols; begin += kRotationBlock) {
    float block[kRotationBlock];
    held_block(matrix, row, begin, block);
    if (matrix.input.rotated) rotate_block(block);
    if (matrix.input.smoothing != nullptr)
      for (int32_t k = 0; k < kRotationBlock; ++k)
        block[k] *= matrix.input.smoothing[begin + k];
    std::copy_n(block, std::min(kRotationBlock, matrix.cols - begin), out + begin);
  }
  if (matrix.outlier_columns == nullptr) return;
  const auto& columns = static_cast<const PackedFactor&>(*matrix.outlier_columns);
  for (int32_t j = 0; j < columns.rank; ++j)
    out[matrix.input.outliers[j]] =
        bfloat16_to_float32(columns.data.as<uint16_t>()[factor_b_offset(columns.rank, row, j)]);
}

namespace {

std::unique_ptr<PackedMatrix> allocate_packed(const MatrixSpec& spec) {
  check_spec(spec);
  auto matrix = std::make_unique<PackedMatrix>();
  matrix->rows = spec.rows;
  matrix->cols = spec.cols;
  matrix->format = spec.format;
  matrix->activation = spec.activation;
  const auto padded_rows = static_cast<size_t>(matrix->padded_rows());
  const auto padded_cols = static_cast<size_t>(matrix->padded_cols());
  matrix->data = Buffer(padded_rows * padded_cols * element_bytes(spec.format));
  if (spec.format == WeightFormat::kInt8) {
    const bool int8_input = spec.activation == ActivationFormat::kInt8;
    matrix->scale = Buffer(padded_rows * static_cast<size_t>(matrix->groups()) * (int8_input ? sizeof(uint16_t) : sizeof(float)));
    if (matrix->rows != matrix->padded_rows())
      std::memset(writable_tile<uint8_t>(*matrix, matrix->rows), kZeroPoint, kTileRows * padded_cols);
  }
  matrix->bytes = matrix->data.bytes() + matrix->scale.bytes();
  matrix->input.rotated = spec.rotated;
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
    matrix->outlier_store = make_factor(matrix->input.outlier_count, spec.rows, LoraDType::kBFloat16, false);
    matrix->outlier_columns = matrix->outlier_store.get();
    matrix->bytes += matrix->outlier_store->bytes;
  }
  return matrix;
}

}  // namespace

std::unique_ptr<Matrix> allocate_matrix(const MatrixSpec& spec) { return allocate_packed(spec); }

std::vector<MemoryRange> memory(const PackedMatrix& matrix) {
  std::vector<MemoryRange> ranges = {{matrix.data.as<void>(), matrix.data.bytes()}, {matrix.scale.as<void>(), matrix.scale.bytes()}};
  if (matrix.outlier_store != nullptr) {
    const BufferPart& columns = static_cast<const PackedFactor&>(*matrix.outlier_store).data;
    ranges.push_back({columns.as<void>(), columns.bytes()});
  }
  return ranges;
}

std::unique_ptr<Matrix> pack_matrix(const MatrixSpec& spec, const RowReader& read, int threads) {
  auto matrix = allocate_packed(spec);
  const size_t tile_bytes = kTileRows * static_cast<size_t>(spec.cols) * sizeof(float);
  const auto block_tiles = static_cast<int32_t>(std::max<size_t>(1, kBlockBytes / tile_bytes));
  BlockQueue queue(spec.rows, block_tiles * kTileRows);
  pack_on_threads(*matrix, read, queue, threads);
  return matrix;
}

void unpack_rows(const PackedMatrix& matrix, int32_t row_begin, int32_t row_count, float* out) {
  if (row_begin < 0 || row_count < 0 || row_count > matrix.rows - row_begin)
    throw Error(ErrorCode::kInvalidArgument, "Expected rows below " + std::to_string(matrix.rows) +
                                                 " for unpacking a weight matrix, received " +
                                                 std::to_string(row_count) + " rows from " +
                                                 std::to_string(row_begin) + " on.");
  for (int32_t i = 0; i < row_count; ++i)
    unpack_row(matrix, row_begin + i, out + static_cast<size_t>(i) * static_cast<size_t>(matrix.cols));
}

uint64_t checksum(const PackedMatrix& matrix) {
  uint64_t state =
      hash_word(0, static_cast<uint64_t>(matrix.rows) << 32 | static_cast<uint32_t>(matrix.cols));
  state =
      hash_word(state, static_cast<uint64_t>(matrix.format) << 8 | static_cast<uint64_t>(matrix.activation));
  state = hash_buffer(state, matrix.data);
  state = hash_buffer(state, matrix.scale);
  state = hash_buffer(state, matrix.smoothing);
  for (const int32_t channel : matrix.outlier_ids)
    state = hash_word(state, static_cast<uint64_t>(channel));
  state = hash_word(state, matrix.input.rotated ? 1 : 0);
  if (matrix.outlier_store == nullptr) return state;
  return hash_buffer(state, static_cast<const PackedFactor&>(*matrix.outlier_store).data);
}

std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) {
  auto factor = make_factor(rank, in, dtype, true);
  for (int32_t r = 0; r < rank; ++r) {
    const size_t begin = factor_a_offset(*factor, r, 0);
    const size_t step = static_cast<size_t>(group_ranks(*factor, r)) * kTileRows;
    store_factor(*factor, a + static_cast<size_t>(r) * static_cast<size_t>(in), static_cast<size_t>(in),
                 [&](size_t k) { return begin + k / kTileRows * step + k % kTileRows; });
  }
  return factor;
}

std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) {
  auto factor = make_factor(rank, out, dtype, false);
  for (int32_t n = 0; n < out; ++n) {
    const size_t begin = factor_b_offset(rank, n, 0);
    store_factor(*factor, b + static_cast<size_t>(n) * static_cast<size_t>(rank), static_cast<size_t>(rank),
                 [&](size_t r) { return begin + r * kTileRows; });
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
