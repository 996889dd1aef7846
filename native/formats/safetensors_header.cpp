#include "formats/safetensors_header.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "formats/safetensors.h"

namespace lowrank {
namespace {

constexpr uint64_t kLengthBytes = 8;

[[noreturn]] void fail(const ByteSource& bytes, const std::string& expected, const std::string& received) {
  throw Error(ErrorCode::kModelFormat,
              "Expected " + expected + " for " + bytes.name() + ", received " + received +
                  ". Check that it is a complete safetensors file, and fetch it again.");
}

uint64_t read_header_length(const ByteSource& bytes) {
  if (bytes.size() < kLengthBytes) {
    fail(bytes, "at least 8 bytes", std::to_string(bytes.size()));
  }
  uint64_t length = 0;
  bytes.read(0, kLengthBytes, &length);
  const uint64_t most = std::min(bytes.size() - kLengthBytes, kMaxSafetensorsHeaderBytes);
  if (length < 2 || length > most) {
    fail(bytes, "a header of 2 to " + std::to_string(most) + " bytes", std::to_string(length));
  }
  return length;
}

// Member `key` of a tensor's entry.
const Json& require(const Json& entry, std::string_view key, const std::string& of, const ByteSource& bytes) {
  const Json* found = entry.find(key);
  if (found == nullptr) fail(bytes, quote_text(key) + " of " + of, "none");
  return *found;
}

TensorInfo read_entry(const std::string& name, const Json& entry, const ByteSource& bytes,
                      uint64_t data_begin, uint32_t file) {
  const std::string label = "tensor " + quote_text(name);
  const std::string& dtype_name = require(entry, "dtype", label, bytes).as_string("dtype of " + label);
  const std::optional<DType> dtype = safetensors_dtype(dtype_name);
  if (!dtype) {
    throw Error(ErrorCode::kModelUnsupported, "Expected F32, F16 or BF16 for dtype of " + label + " in " +
                                                  bytes.name() + ", received " + quote_text(dtype_name) +
                                                  ". Convert the tensor to one of these types.");
  }
  TensorInfo tensor{name, *dtype, {}, 0, 0, file};
  const auto& shape = require(entry, "shape", label, bytes).items("shape of " + label);
  if (shape.size() > TensorSource::kMaxRank) {
    fail(bytes, "at most " + std::to_string(TensorSource::kMaxRank) + " dimensions of " + label,
         std::to_string(shape.size()));
  }
  for (const Json& size : shape) tensor.shape.push_back(size.as_int64("shape of " + label));

  const auto& offsets = require(entry, "data_offsets", label, bytes).items("data_offsets of " + label);
  if (offsets.size() != 2) fail(bytes, "two data_offsets of " + label, std::to_string(offsets.size()));
  const int64_t begin = offsets[0].as_int64("data_offsets of " + label);
  const int64_t end = offsets[1].as_int64("data_offsets of " + label);
  const uint64_t data_bytes = bytes.size() - data_begin;
  if (begin < 0 || end < begin || static_cast<uint64_t>(end) > data_bytes) {
    fail(bytes, "data_offsets within 0 to " + std::to_string(data_bytes) + " of " + label,
         "[" + std::to_string(begin) + ", " + std::to_string(end) + "]");
  }
  tensor.offset = data_begin + static_cast<uint64_t>(begin);
  tensor.byte_length = static_cast<uint64_t>(end - begin);
  return tensor;
}

// The format allows no holes: bytes that no tensor owns could carry anything, and a file with bytes missing
// at its end would else look complete.
void check_no_gaps(const std::vector<TensorInfo>& tensors, const ByteSource& bytes, uint64_t data_begin) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;  // offset, length
  ranges.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) ranges.emplace_back(tensor.offset, tensor.byte_length);
  std::sort(ranges.begin(), ranges.end());
  uint64_t end = data_begin;
  for (const auto& [offset, length] : ranges) {
    if (offset != end) {
      fail(bytes, "tensor data without gap or overlap at byte " + std::to_string(end),
           "data at byte " + std::to_string(offset));
    }
    end = offset + length;
  }
  if (end != bytes.size()) {
    fail(bytes, "tensor data up to its last byte " + std::to_string(bytes.size()),
         "data up to " + std::to_string(end));
  }
}

}  // namespace

std::vector<TensorInfo> read_safetensors_header(const ByteSource& bytes, uint32_t file) {
  const uint64_t length = read_header_length(bytes);
  const uint64_t data_begin = kLengthBytes + length;
  std::string text(static_cast<size_t>(length), '\0');
  bytes.read(kLengthBytes, text.size(), text.data());
  if (text[0] != '{') fail(bytes, "a header that begins with \"{\"", quote_text(text.substr(0, 1)));
  const Json header = Json::parse(text, ErrorCode::kModelFormat, "the header of " + bytes.name());

  std::vector<TensorInfo> tensors;
  const auto& entries = header.members();
  if (entries.size() > TensorSource::kMaxTensors) {
    fail(bytes, "at most " + std::to_string(TensorSource::kMaxTensors) + " tensors",
         std::to_string(entries.size()));
  }
  tensors.reserve(entries.size());
  for (const Json::Member& entry : entries) {
    if (entry.key == "__metadata__") {  // strings for people and tools; nothing that the tensors need
      for (const Json::Member& member : entry.value.members("__metadata__"))
        member.value.as_string("__metadata__");
      continue;
    }
    if (!entry.value.is_object())
      fail(bytes, "an object for tensor " + quote_text(entry.key), "another kind of value");
    tensors.push_back(read_entry(entry.key, entry.value, bytes, data_begin, file));
  }
  check_no_gaps(tensors, bytes, data_begin);
  return tensors;
}

}  // namespace lowrank
