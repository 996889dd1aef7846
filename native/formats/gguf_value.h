// One typed metadata value of a GGUF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowrank {

// The numbers that the file format uses.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// "uint32", "string" …
const char* gguf_type_name(GgufType type);
// Bytes of one value of a fixed-size type; 0 for strings, arrays and numbers that are no type.
size_t gguf_type_bytes(GgufType type);

// A scalar, a string, or an array of one of them (GGUF's arrays of arrays are not read). Arrays are stored
// packed: a vocabulary of 262,144 tokens is one block of bytes and one of offsets.
//
// The accessors throw Error(kModelFormat) when the value is of another type, or lacks element `i`; `key` is
// what the message calls it.
class GgufValue {
 public:
  // `bytes` holds count elements of a fixed-size type.
  static GgufValue fixed_size(bool is_array, GgufType element_type, std::vector<uint8_t> bytes);
  // String i is bytes [ends[i - 1], ends[i]), the first from 0 on.
  static GgufValue strings(bool is_array, std::vector<uint8_t> bytes, std::vector<uint64_t> ends);

  bool operator==(const GgufValue&) const = default;

  bool is_array() const { return is_array_; }
  // Of the scalar, or of the array's elements.
  GgufType element_type() const { return element_type_; }
  // Elements of an array; 1 for anything else.
  size_t size() const;

  bool is_integer() const { return !is_array_ && holds_integers(); }
  bool is_number() const { return !is_array_ && (holds_integers() || holds_floats()); }
  bool is_bool() const { return !is_array_ && element_type_ == GgufType::kBool; }
  bool is_string() const { return !is_array_ && element_type_ == GgufType::kString; }

  // Of a scalar. Any integer type that fits into int64 gives an int64, any number a double.
  int64_t as_int64(std::string_view key) const;
  double as_double(std::string_view key) const;
  bool as_bool(std::string_view key) const;
  std::string_view as_string(std::string_view key) const;

  // Of element i of an array.
  int64_t int64_at(size_t i, std::string_view key) const;
  double double_at(size_t i, std::string_view key) const;
  bool bool_at(size_t i, std::string_view key) const;
  std::string_view string_at(size_t i, std::string_view key) const;

 private:
  GgufValue(bool is_array, GgufType element_type, std::vector<uint8_t> bytes, std::vector<uint64_t> ends);

  bool holds_integers() const;
  bool holds_floats() const;
  // Checks that the value is a scalar or array as asked, holds `accepted`, and has element i.
  void require(bool array, bool accepted, size_t i, const char* expected, std::string_view key) const;
  int64_t element_int64(size_t i, std::string_view key) const;
  double element_double(size_t i) const;
  std::string_view element_string(size_t i) const;
  std::string description() const;

  bool is_array_;
  GgufType element_type_;
  std::vector<uint8_t> bytes_;
  std::vector<uint64_t> ends_;  // of strings; empty for other types
};

}  // namespace lowrank
