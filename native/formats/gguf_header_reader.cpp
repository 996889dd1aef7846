#include "formats/gguf_header_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace lowrank {
namespace {

constexpr uint64_t kWindowBytes = 64u << 10;
constexpr uint64_t kStringLengthBytes = 8;

}  // namespace

GgufHeaderReader::GgufHeaderReader(const ByteSource& bytes, uint64_t limit)
    : bytes_(bytes), end_(std::min(bytes.size(), limit)) {}

void GgufHeaderReader::fail(const std::string& expected, const std::string& received) const {
  throw Error(ErrorCode::kModelFormat, "Expected " + expected + " at byte " + std::to_string(position_) +
                                           " for " + bytes_.name() + ", received " + received +
                                           ". Check that it is a complete GGUF file, and fetch it again.");
}

void GgufHeaderReader::read(void* out, uint64_t n) {
  if (n > remaining()) fail(std::to_string(n) + " bytes", std::to_string(remaining()));
  auto* to = static_cast<uint8_t*>(out);
  while (n > 0) {
    const uint64_t in_window = position_ - window_begin_;
    if (in_window >= window_.size()) {
      if (n >= kWindowBytes) {  // large arrays go straight to their place
        bytes_.read(position_, static_cast<size_t>(n), to);
        position_ += n;
        return;
      }
      window_.resize(static_cast<size_t>(std::min(kWindowBytes, remaining())));
      bytes_.read(position_, window_.size(), window_.data());
      window_begin_ = position_;
      continue;
    }
    const uint64_t count = std::min<uint64_t>(n, window_.size() - in_window);
    std::memcpy(to, window_.data() + in_window, static_cast<size_t>(count));
    to += count;
    position_ += count;
    n -= count;
  }
}

uint32_t GgufHeaderReader::read_u32() {
  uint32_t value = 0;
  read(&value, sizeof value);
  return value;
}

uint64_t GgufHeaderReader::read_u64() {
  uint64_t value = 0;
  read(&value, sizeof value);
  return value;
}

std::string GgufHeaderReader::read_string(const char* what, uint64_t min_bytes, uint64_t max_bytes) {
  const uint64_t length = read_u64();
  const uint64_t most = std::min(max_bytes, remaining());
  if (length < min_bytes || length > most) {
    fail(std::string(what) + " of " + std::to_string(min_bytes) + " to " + std::to_string(most) + " bytes",
         std::to_string(length));
  }
  std::string text(static_cast<size_t>(length), '\0');
  read(text.data(), length);
  return text;
}

GgufType GgufHeaderReader::read_type(const std::string& key) {
  const uint32_t number = read_u32();
  if (number > static_cast<uint32_t>(GgufType::kFloat64)) {
    fail("a type of 0 to 12 for key " + quote_text(key), std::to_string(number));
  }
  return static_cast<GgufType>(number);
}

GgufValue GgufHeaderReader::read_value(const std::string& key) {
  const GgufType type = read_type(key);
  if (type != GgufType::kArray) return read_elements(key, false, type, 1);
  const GgufType element_type = read_type(key);
  if (element_type == GgufType::kArray) fail("no array of arrays for key " + quote_text(key), "one");
  const uint64_t count = read_u64();
  return read_elements(key, true, element_type, count);
}

GgufValue GgufHeaderReader::read_elements(const std::string& key, bool is_array, GgufType type,
                                          uint64_t count) {
  const bool is_string = type == GgufType::kString;
  const uint64_t least_bytes = is_string ? kStringLengthBytes : gguf_type_bytes(type);
  if (count > remaining() / least_bytes) {
    fail("at most " + std::to_string(remaining() / least_bytes) + " elements of " + gguf_type_name(type) +
             " for key " + quote_text(key),
         std::to_string(count));
  }
  std::vector<uint8_t> bytes;
  if (!is_string) {
    bytes.resize(static_cast<size_t>(count * least_bytes));
    read(bytes.data(), bytes.size());
    const bool invalid_bool = std::any_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte > 1; });
    if (type == GgufType::kBool && invalid_bool)
      fail("bools of 0 or 1 for key " + quote_text(key), "another value");
    return GgufValue::fixed_size(is_array, type, std::move(bytes));
  }
  std::vector<uint64_t> ends;
  ends.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t length = read_u64();
    if (length > remaining()) {
      fail("a string of at most " + std::to_string(remaining()) + " bytes for key " + quote_text(key),
           std::to_string(length));
    }
    const size_t begin = bytes.size();
    bytes.resize(begin + static_cast<size_t>(length));
    read(bytes.data() + begin, length);
    ends.push_back(bytes.size());
  }
  bytes.shrink_to_fit();
  return GgufValue::strings(is_array, std::move(bytes), std::move(ends));
}

}  // namespace lowrank
