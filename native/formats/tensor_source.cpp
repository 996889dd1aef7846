#include "formats/tensor_source.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "formats/checked_math.h"
#include "formats/dequantize.h"

namespace lowrank {
namespace {

[[noreturn]] void fail_format(const std::string& expected, std::string_view name, std::string_view file,
                              const std::string& received) {
  throw Error(ErrorCode::kModelFormat,
              "Expected " + expected + " for tensor " + quote_text(name) + " in " + std::string(file) +
                  ", received " + received +
                  ". The file is damaged or was written wrongly: fetch or convert it again.");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  return text + "]";
}

}  // namespace

int64_t TensorInfo::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t TensorInfo::rows() const { return shape.size() < 2 ? 1 : shape[0]; }

int64_t TensorInfo::row_length() const {
  const auto outer = static_cast<std::ptrdiff_t>(shape.size() < 2 ? 0 : 1);
  return std::accumulate(shape.begin() + outer, shape.end(), int64_t{1}, std::multiplies<>());
}

uint64_t tensor_byte_length(DType dtype, const std::vector<int64_t>& shape, std::string_view name,
                            std::string_view file) {
  const DTypeFacts& facts = dtype_facts(dtype);
  // Dimensions of 0 must not hide that the others overflow: row_length() multiplies them alone.
  uint64_t product = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) fail_format("dimensions of at least 0", name, file, shape_text(shape));
    empty = empty || size == 0;
    const auto next = checked_multiply(product, std::max<uint64_t>(static_cast<uint64_t>(size), 1));
    if (!next || *next > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      fail_format("fewer than 2^63 elements", name, file, shape_text(shape));
    }
    product = *next;
  }
  const uint64_t elements = empty ? 0 : product;
  const auto block_elements = static_cast<uint64_t>(facts.block_elements);
  const auto row = static_cast<uint64_t>(shape.empty() ? 1 : shape.back());
  if (row % block_elements != 0) {
    fail_format(
        "rows of a multiple of " + std::to_string(block_elements) + " elements, as " + facts.name + " needs,",
        name, file, shape_text(shape));
  }
  const auto bytes = checked_multiply(elements / block_elements, static_cast<uint64_t>(facts.block_bytes));
  if (!bytes) fail_format("fewer than 2^64 bytes", name, file, shape_text(shape));
  return *bytes;
}

TensorSource::TensorSource(std::vector<TensorInfo> tensors, std::vector<std::shared_ptr<ByteSource>> files)
    : tensors_(std::move(tensors)), files_(std::move(files)) {
  for (const TensorInfo& tensor : tensors_) check_tensor(tensor);
  index_names();
  check_overlap();
}

void TensorSource::check_tensor(const TensorInfo& tensor) const {
  const ByteSource& file = *files_.at(tensor.file);
  if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes) {
    fail_format("a name of 1 to " + std::to_string(kMaxNameBytes) + " bytes", tensor.name, file.name(),
                std::to_string(tensor.name.size()) + " bytes");
  }
  if (tensor.shape.size() > kMaxRank) {
    fail_format("at most " + std::to_string(kMaxRank) + " dimensions", tensor.name, file.name(),
                std::to_string(tensor.shape.size()));
  }
  const uint64_t needed = tensor_byte_length(tensor.dtype, tensor.shape, tensor.name, file.name());
  if (needed != tensor.byte_length) {
    fail_format(std::to_string(needed) + " bytes of " + dtype_facts(tensor.dtype).name + " data with shape " +
                    shape_text(tensor.shape),
                tensor.name, file.name(), std::to_string(tensor.byte_length));
  }
  if (tensor.offset > file.size() || tensor.byte_length > file.size() - tensor.offset) {
    fail_format(
        std::to_string(tensor.byte_length) + " bytes of data at offset " + std::to_string(tensor.offset),
        tensor.name, file.name(), "a file of " + std::to_string(file.size()) + " bytes");
  }
}

void TensorSource::index_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::sort(by_name_.begin(), by_name_.end(),
            [&](uint32_t a, uint32_t b) { return tensors_[a].name < tensors_[b].name; });
  const auto same = std::adjacent_find(by_name_.begin(), by_name_.end(), [&](uint32_t a, uint32_t b) {
    return tensors_[a].name == tensors_[b].name;
  });
  if (same != by_name_.end()) {
    const TensorInfo& tensor = tensors_[*same];
    fail_format("one tensor of that name", tensor.name, files_[tensor.file]->name(), "two");
  }
}

void TensorSource::check_overlap() const {
  std::vector<const TensorInfo*> by_place;
  by_place.reserve(tensors_.size());
  for (const TensorInfo& tensor : tensors_) {
    if (tensor.byte_length > 0) by_place.push_back(&tensor);
  }
  std::sort(by_place.begin(), by_place.end(), [](const TensorInfo* a, const TensorInfo* b) {
    return a->file != b->file ? a->file < b->file : a->offset < b->offset;
  });
  for (size_t i = 1; i < by_place.size(); ++i) {
    const TensorInfo& before = *by_place[i - 1];
    const TensorInfo& tensor = *by_place[i];
    // No overflow: check_tensor() has shown that both ends lie within the file.
    if (before.file == tensor.file && before.offset + before.byte_length > tensor.offset) {
      fail_format("bytes of its own", tensor.name, files_[tensor.file]->name(),
                  "bytes that tensor " + quote_text(before.name) + " also uses");
    }
  }
}

const TensorInfo* TensorSource::find(std::string_view name) const {
  const auto found =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](uint32_t i, std::string_view key) { return tensors_[i].name < key; });
  if (found == by_name_.end() || tensors_[*found].name != name) return nullptr;
  return &tensors_[*found];
}

void TensorSource::read_rows(const TensorInfo& tensor, int64_t row_begin, int64_t row_count,
                             float* out) const {
  const DTypeFacts& facts = dtype_facts(tensor.dtype);
  if (!facts.readable) {
    throw Error(ErrorCode::kModelUnsupported,
                "Expected a floating-point or GGML block type for tensor " + quote_text(tensor.name) +
                    ", received " + facts.name +
                    ". Convert the model to BF16, F16, F32 or a supported GGUF type.");
  }
  if (row_begin < 0 || row_count < 0 || row_begin > tensor.rows() || row_count > tensor.rows() - row_begin) {
    throw Error(ErrorCode::kInvalidArgument,
                "Expected rows within 0 to " + std::to_string(tensor.rows()) + " for tensor " +
                    quote_text(tensor.name) + ", received " + std::to_string(row_count) + " from row " +
                    std::to_string(row_begin) + ". Ask for rows that the tensor has.");
  }
  const ByteSource& file = *files_.at(tensor.file);
  const int64_t row_length = tensor.row_length();
  const int64_t elements = row_count * row_length;  // at most tensor.elements()
  if (elements == 0) return;
  // A row is whole blocks and rows lie behind one another, so blocks can be read without regard to rows.
  const int64_t first_block = row_begin * row_length / facts.block_elements;
  const uint64_t offset =
      tensor.offset + static_cast<uint64_t>(first_block) * static_cast<uint64_t>(facts.block_bytes);
  if (tensor.dtype == DType::kF32) {
    file.read(offset, static_cast<size_t>(elements) * sizeof(float), out);
    return;
  }
  const int64_t blocks = elements / facts.block_elements;
  const int64_t chunk_blocks =
      std::min<int64_t>(blocks, static_cast<int64_t>(kScratchBytes) / facts.block_bytes);
  const auto scratch =
      std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(chunk_blocks * facts.block_bytes));
  for (int64_t block = 0; block < blocks; block += chunk_blocks) {
    const int64_t count = std::min(chunk_blocks, blocks - block);
    file.read(offset + static_cast<uint64_t>(block * facts.block_bytes),
              static_cast<size_t>(count * facts.block_bytes), scratch.get());
    dequantize(tensor.dtype, scratch.get(), count * facts.block_elements, out + block * facts.block_elements);
  }
}

bool TensorSource::same_bytes(const TensorInfo& a, const TensorInfo& b) const {
  if (a.dtype != b.dtype || a.shape != b.shape || a.byte_length != b.byte_length) return false;
  constexpr size_t kPiece = kScratchBytes / 2;
  const auto scratch = std::make_unique_for_overwrite<uint8_t[]>(kScratchBytes);
  for (uint64_t at = 0; at < a.byte_length; at += kPiece) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(kPiece, a.byte_length - at));
    files_.at(a.file)->read(a.offset + at, bytes, scratch.get());
    files_.at(b.file)->read(b.offset + at, bytes, scratch.get() + kPiece);
    if (std::memcmp(scratch.get(), scratch.get() + kPiece, bytes) != 0) return false;
  }
  return true;
}

}  // namespace lowrank
