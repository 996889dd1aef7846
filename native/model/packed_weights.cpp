#include "model/packed_weights.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <system_error>

#include "core/error.h"
#include "core/thread_pool.h"
#include "quant/scheme_name.h"

namespace lowrank {
namespace {

// To be raised with any change of the layout, of the recipe of the weights, or of this file.
constexpr uint32_t kVersion = 4;
constexpr char kMagic[8] = {'l', 'o', 'w', 'r', 'a', 'n', 'k', 'W'};
constexpr uint64_t kDataAlignment = 4096;
constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr size_t kPieceBytes = size_t{4} << 20;  // of memory that is not the host's, on its way from or to the file

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t matrices;
  uint64_t index_bytes;
};

struct IndexEntry {
  int32_t rows;
  int32_t cols;
  uint64_t checksum;
  uint16_t group;
  uint16_t outliers;  // int32 ids follow
  WeightFormat weights;
  ActivationFormat activations;
  uint8_t rotated;
  uint8_t smoothed;  // cols float32 factors follow

  bool is_of(const MatrixSpec& spec) const {
    const QuantScheme& scheme = spec.scheme;
    return rows == spec.rows && cols == spec.cols && weights == scheme.weights && activations == scheme.activations &&
           group == scheme.group && rotated == (scheme.rotated ? 1 : 0) && smoothed == (scheme.smoothed ? 1 : 0) &&
           outliers == scheme.outliers;
  }
};
static_assert(sizeof(IndexEntry) == 24);

uint64_t aligned(uint64_t offset) { return (offset + kDataAlignment - 1) / kDataAlignment * kDataAlignment; }

[[noreturn]] void damaged(const std::string& name, const char* expected) {
  throw Error(ErrorCode::kIo, std::string("Expected ") + expected + " in the packed weights " + name + ".");
}

template <class T>
void append(std::vector<uint8_t>& bytes, const T* values, size_t count) {
  const auto* begin = reinterpret_cast<const uint8_t*>(values);
  bytes.insert(bytes.end(), begin, begin + count * sizeof(T));
}

std::filesystem::path wide_path(const std::string& path) { return {std::u8string(path.begin(), path.end())}; }

enum class Transfer { kFetch, kStore };

// Calls body(data, bytes) for all of a range, in order, with memory of the host: the range itself where the backend's is the
// host's, else pieces of it, read from the backend before (kFetch) or written to it afterwards (kStore).
template <class Body>
void for_each_piece(const Backend& backend, const MemoryRange& range, Transfer transfer, const Body& body) {
  if (backend.shares_host_memory()) return body(range.data, range.bytes);
  std::vector<uint8_t> piece(std::min(kPieceBytes, range.bytes));
  for (size_t offset = 0; offset < range.bytes; offset += kPieceBytes) {
    const size_t bytes = std::min(kPieceBytes, range.bytes - offset);
    uint8_t* const at = static_cast<uint8_t*>(range.data) + offset;
    if (transfer == Transfer::kFetch) backend.read(piece.data(), at, bytes);
    body(piece.data(), bytes);
    if (transfer == Transfer::kStore) backend.write(at, piece.data(), bytes);
  }
}

void write_all(const std::filesystem::path& path, const Backend& backend, const std::vector<const Matrix*>& matrices) {
  std::vector<uint8_t> index;
  for (const Matrix* matrix : matrices) {
    const MatrixSpec spec = backend.spec_of(*matrix);
    const QuantScheme& scheme = spec.scheme;
    const IndexEntry entry = {spec.rows, spec.cols, backend.checksum(*matrix), static_cast<uint16_t>(scheme.group),
                              static_cast<uint16_t>(scheme.outliers), scheme.weights, scheme.activations, scheme.rotated, scheme.smoothed};
    append(index, &entry, 1);
    append(index, spec.outliers.data(), spec.outliers.size());
    append(index, spec.smoothing.data(), spec.smoothing.size());
  }
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.matrices = static_cast<uint32_t>(matrices.size());
  header.index_bytes = index.size();

  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  uint64_t at = 0;
  const auto write = [&](const void* bytes, size_t count) {
    file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
    at += count;
  };
  const auto fill_up_to = [&](uint64_t offset) {
    static constexpr char kZeros[kDataAlignment] = {};
    write(kZeros, static_cast<size_t>(offset - at));
  };
  write(&header, sizeof header);
  write(index.data(), index.size());
  for (const Matrix* matrix : matrices) {
    fill_up_to(aligned(at));
    for (const MemoryRange& range : backend.memory(*matrix)) {
      fill_up_to(aligned_range(at));
      for_each_piece(backend, range, Transfer::kFetch, [&](const void* data, size_t bytes) { write(data, bytes); });
    }
  }
  file.close();
  if (!file) throw Error(ErrorCode::kIo, "Expected room for the packed weights at " + path.string() + ".");
}

}  // namespace

std::string packed_weights_id(const Backend& backend, const WeightSchemes& schemes) {
  std::string formats, last;
  const auto add = [&](const QuantScheme& scheme) {
    const std::string name = scheme_name(scheme);
    if (name != last) formats += "-" + name;
    last = name;
  };
  for (const QuantScheme& scheme : schemes.sites) add(scheme);
  add(schemes.lm_head);
  add(schemes.embed_tokens);

  const Backend& calibrating = backend.shares_host_memory() ? backend : cpu_backend();
  return "v" + std::to_string(kVersion) + "-" + backend.name() + "-" + backend.weights_layout() + "-" +
         calibrating.traits().rounding + formats;
}

void write_packed_weights(const std::string& path, const Backend& backend, const std::vector<const Matrix*>& matrices) {
  std::random_device random;
  std::filesystem::path partial = wide_path(path);
  partial += ".partial-" + std::to_string(random()) + std::to_string(random());
  std::error_code ignored;
  try {
    write_all(partial, backend, matrices);
    prepare_for_mapping(partial.string());
    std::filesystem::rename(partial, wide_path(path));
  } catch (const std::filesystem::filesystem_error& error) {
    std::filesystem::remove(partial, ignored);
    throw Error(ErrorCode::kIo, std::string("Expected a folder to write packed weights to: ") + error.what());
  } catch (...) {
    std::filesystem::remove(partial, ignored);
    throw;
  }
}

std::unique_ptr<PackedWeights> PackedWeights::open(const std::string& path, const Backend& backend, bool share) {
  std::error_code failure;
  if (!std::filesystem::exists(wide_path(path), failure)) return nullptr;
  const auto mapped = share && backend.shares_host_memory() ? map_file(path) : nullptr;
  std::unique_ptr<PackedWeights> packed(
      mapped != nullptr ? new PackedWeights(mapped, mapped, backend) : new PackedWeights(open_file(path), nullptr, backend));
  const ByteSource& file = *packed->file_;
  Header header;
  file.read(0, sizeof header, &header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.version != kVersion) damaged(path, "this version's header");
  if (header.index_bytes > kMaxIndexBytes || header.index_bytes > file.size()) damaged(path, "an index within the file");
  packed->index_.resize(static_cast<size_t>(header.index_bytes));
  file.read(sizeof header, packed->index_.size(), packed->index_.data());
  packed->data_at_ = sizeof header + header.index_bytes;
  packed->left_ = header.matrices;
  return packed;
}

template <class T>
T PackedWeights::take() {
  if (index_.size() - index_at_ < sizeof(T)) damaged(file_->name(), "a whole index");
  T value;
  std::memcpy(&value, index_.data() + index_at_, sizeof value);
  index_at_ += sizeof value;
  return value;
}

std::unique_ptr<Matrix> PackedWeights::next(const MatrixSpec& wanted) {
  if (left_ == 0) damaged(file_->name(), "another matrix");
  --left_;
  const auto entry = take<IndexEntry>();
  if (!entry.is_of(wanted)) damaged(file_->name(), "the model's shapes and formats");
  MatrixSpec spec = wanted;
  for (uint16_t i = 0; i < entry.outliers; ++i) spec.outliers.push_back(take<int32_t>());
  for (int32_t k = 0; entry.smoothed != 0 && k < entry.cols; ++k) spec.smoothing.push_back(take<float>());

  const uint64_t offset = aligned(data_at_);
  std::unique_ptr<Matrix> matrix;
  try {  // checks the transform
    matrix = mapped_ != nullptr ? backend_.place(spec, {mapped_, mapped_->data() + offset}) : backend_.allocate(spec);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInvalidArgument) damaged(file_->name(), "a valid input transform");
    throw;
  }
  data_at_ = offset;
  for (const MemoryRange& range : backend_.memory(*matrix)) data_at_ = aligned_range(data_at_) + range.bytes;
  if (data_at_ > file_->size()) damaged(file_->name(), "all of the weights");
  items_.push_back({matrix.get(), offset, entry.checksum});
  return matrix;
}

void PackedWeights::read(int threads, const std::function<void(int64_t elements)>& done) {
  if (left_ != 0) damaged(file_->name(), "no further matrix");
  struct Reading {
    const PackedWeights& packed;
    const std::function<void(int64_t)>& done;
    std::atomic<size_t> next{0};
    std::atomic<int64_t> elements{0};
    std::atomic<bool> failed{false};
    std::mutex mutex{};
    std::exception_ptr failure{};
  };
  Reading reading{*this, done};
  ThreadPool::process().run(
      threads,
      [](void* context, int part, int, Barrier&) {
        auto& self = *static_cast<Reading*>(context);
        const std::vector<Item>& items = self.packed.items_;
        try {
          for (size_t i; !self.failed && (i = self.next.fetch_add(1)) < items.size();) {
            const Matrix& matrix = *items[i].matrix;
            uint64_t offset = items[i].offset;
            const Backend& backend = self.packed.backend_;
            for (const MemoryRange& range : self.packed.is_shared() ? std::vector<MemoryRange>() : backend.memory(matrix)) {
              offset = aligned_range(offset);
              for_each_piece(backend, range, Transfer::kStore, [&](void* data, size_t bytes) {
                self.packed.file_->read(offset, bytes, data);
                offset += bytes;
              });
            }
            if (backend.checksum(matrix) != items[i].checksum)
              damaged(self.packed.file_->name(), "the weights that were written");
            self.elements += int64_t{matrix.rows} * matrix.cols;
            if (part == 0 && self.done) self.done(self.elements);
          }
        } catch (...) {
          std::lock_guard<std::mutex> lock(self.mutex);
          if (!self.failure) self.failure = std::current_exception();
          self.failed = true;
        }
      },
      &reading);
  if (reading.failure) std::rethrow_exception(reading.failure);
}

}  // namespace lowrank
