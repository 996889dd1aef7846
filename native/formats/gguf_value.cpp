#include "formats/gguf_value.h"

#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/json.h"

namespace lowrank {
namespace {

template <class T>
T load(const std::vector<uint8_t>& bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

const char* gguf_type_name(GgufType type) {
  switch (type) {
    case GgufType::kUint8: return "uint8";
    case GgufType::kInt8: return "int8";
    case GgufType::kUint16: return "uint16";
    case GgufType::kInt16: return "int16";
    case GgufType::kUint32: return "uint32";
    case GgufType::kInt32: return "int32";
    case GgufType::kFloat32: return "float32";
    case GgufType::kBool: return "bool";
    case GgufType::kString: return "string";
    case GgufType::kArray: return "array";
    case GgufType::kUint64: return "uint64";
    case GgufType::kInt64: return "int64";
    case GgufType::kFloat64: return "float64";
  }
  return "unknown type";
}

size_t gguf_type_bytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool: return 1;
    case GgufType::kUint16:
    case GgufType::kInt16: return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32: return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64: return 8;
    case GgufType::kString:
    case GgufType::kArray: return 0;
  }
  return 0;
}

GgufValue::GgufValue(bool is_array, GgufType element_type, std::vector<uint8_t> bytes,
                     std::vector<uint64_t> ends)
    : is_array_(is_array), element_type_(element_type), bytes_(std::move(bytes)), ends_(std::move(ends)) {}

GgufValue GgufValue::fixed_size(bool is_array, GgufType element_type, std::vector<uint8_t> bytes) {
  return GgufValue(is_array, element_type, std::move(bytes), {});
}

GgufValue GgufValue::strings(bool is_array, std::vector<uint8_t> bytes, std::vector<uint64_t> ends) {
  return GgufValue(is_array, GgufType::kString, std::move(bytes), std::move(ends));
}

size_t GgufValue::size() const {
  return element_type_ == GgufType::kString ? ends_.size() : bytes_.size() / gguf_type_bytes(element_type_);
}

bool GgufValue::holds_integers() const {
  return !holds_floats() && element_type_ != GgufType::kBool && element_type_ != GgufType::kString;
}

bool GgufValue::holds_floats() const {
  return element_type_ == GgufType::kFloat32 || element_type_ == GgufType::kFloat64;
}

std::string GgufValue::description() const {
  const std::string element = gguf_type_name(element_type_);
  return is_array_ ? "an array of " + std::to_string(size()) + " " + element : "a value of type " + element;
}

void GgufValue::require(bool array, bool accepted, size_t i, const char* expected,
                        std::string_view key) const {
  if (is_array_ == array && accepted && i < size()) return;
  const std::string place =
      array ? "an array with " + std::string(expected) + " at " + std::to_string(i) : expected;
  throw Error(ErrorCode::kModelFormat, "Expected " + place + " for GGUF key " + quote_text(key) +
                                           ", received " + description() +
                                           ". Convert the model again with a current converter.");
}

int64_t GgufValue::element_int64(size_t i, std::string_view key) const {
  switch (element_type_) {
    case GgufType::kUint8: return load<uint8_t>(bytes_, i);
    case GgufType::kInt8: return load<int8_t>(bytes_, i);
    case GgufType::kUint16: return load<uint16_t>(bytes_, i);
    case GgufType::kInt16: return load<int16_t>(bytes_, i);
    case GgufType::kUint32: return load<uint32_t>(bytes_, i);
    case GgufType::kInt32: return load<int32_t>(bytes_, i);
    case GgufType::kInt64: return load<int64_t>(bytes_, i);
    default: break;
  }
  const auto value = load<uint64_t>(bytes_, i);
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw Error(ErrorCode::kModelFormat, "Expected an integer below 2^63 for GGUF key " + quote_text(key) +
                                             ", received " + std::to_string(value) +
                                             ". Convert the model again with a current converter.");
  }
  return static_cast<int64_t>(value);
}

double GgufValue::element_double(size_t i) const {
  switch (element_type_) {
    case GgufType::kFloat32: return static_cast<double>(load<float>(bytes_, i));
    case GgufType::kFloat64: return load<double>(bytes_, i);
    case GgufType::kUint64: return static_cast<double>(load<uint64_t>(bytes_, i));
    default: return static_cast<double>(element_int64(i, {}));
  }
}

std::string_view GgufValue::element_string(size_t i) const {
  const uint64_t begin = i == 0 ? 0 : ends_[i - 1];
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, static_cast<size_t>(ends_[i] - begin)};
}

int64_t GgufValue::as_int64(std::string_view key) const {
  require(false, holds_integers(), 0, "an integer", key);
  return element_int64(0, key);
}

double GgufValue::as_double(std::string_view key) const {
  require(false, holds_integers() || holds_floats(), 0, "a number", key);
  return element_double(0);
}

bool GgufValue::as_bool(std::string_view key) const {
  require(false, element_type_ == GgufType::kBool, 0, "a bool", key);
  return bytes_[0] != 0;
}

std::string_view GgufValue::as_string(std::string_view key) const {
  require(false, element_type_ == GgufType::kString, 0, "a string", key);
  return element_string(0);
}

int64_t GgufValue::int64_at(size_t i, std::string_view key) const {
  require(true, holds_integers(), i, "an integer", key);
  return element_int64(i, key);
}

double GgufValue::double_at(size_t i, std::string_view key) const {
  require(true, holds_integers() || holds_floats(), i, "a number", key);
  return element_double(i);
}

bool GgufValue::bool_at(size_t i, std::string_view key) const {
  require(true, element_type_ == GgufType::kBool, i, "a bool", key);
  return bytes_[i] != 0;
}

std::string_view GgufValue::string_at(size_t i, std::string_view key) const {
  require(true, element_type_ == GgufType::kString, i, "a string", key);
  return element_string(i);
}

}  // namespace lowrank
