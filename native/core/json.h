// A strict JSON reader (RFC 8259) for small documents nobody vouches for: safetensors headers, shard indexes,
// adapter configurations. Every text gives a value or an Error; it never crashes, and its time and memory
// stay in proportion to the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/error.h"

namespace lowrank {

// `text` between double quotes for an error message: control characters and bytes outside ASCII's printable
// range written as \xNN, cut after `max_bytes` bytes of input with "..." behind.
std::string quote_text(std::string_view text, size_t max_bytes = 80);

// One JSON value and all below it. Refused beside what the grammar refuses: duplicate keys in an object, text
// that is not UTF-8, escapes that form no character (lone surrogates), numbers beyond a double, a byte order
// mark.
class Json {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  struct Member;

  static constexpr int kMaxDepth = 64;             // arrays and objects inside one another
  static constexpr size_t kMaxBytes = 128u << 20;  // of text
  static constexpr size_t kMaxValues = 1u << 20;   // values of all kinds; bounds the memory to some 150 MB

  // Throws Error(on_error) with a message that begins "Expected valid JSON for <name>". The accessors below
  // throw the same code when the value is of another kind.
  static Json parse(std::string_view text, ErrorCode on_error = ErrorCode::kModelFormat,
                    std::string_view name = "the JSON text");

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_number() const { return kind() == Kind::kNumber; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_object() const { return kind() == Kind::kObject; }
  // A number that as_int64() returns exactly: written without fraction and exponent and within int64, or
  // written otherwise (1.0, 1e4) with an integral value of magnitude 2^53 at most.
  bool is_int64() const;

  // `name` is what the error message calls the value.
  bool as_bool(std::string_view name = "a JSON value") const;
  double as_double(std::string_view name = "a JSON value") const;
  int64_t as_int64(std::string_view name = "a JSON value") const;
  const std::string& as_string(std::string_view name = "a JSON value") const;

  // The elements of an array, in order.
  const std::vector<Json>& items(std::string_view name = "a JSON value") const;
  // The members of an object, in the order of the text.
  const std::vector<Member>& members(std::string_view name = "a JSON value") const;
  // The value of a key in O(log members), or null when this is no object or has no such key.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;

  struct Number {
    double value;
    int64_t integer;  // meaningful where is_integer
    bool is_integer;
  };
  using Array = std::vector<Json>;
  struct Object {
    std::vector<Member> members;
    std::vector<uint32_t> by_key;  // indices into members, sorted by key
  };
  // In the order of Kind.
  using Value = std::variant<std::monostate, bool, Number, std::string, Array, Object>;

  Json(Value value, ErrorCode on_error);
  [[noreturn]] void fail_kind(const char* expected, std::string_view name) const;

  Value value_;
  ErrorCode on_error_;
};

struct Json::Member {
  std::string key;
  Json value;
};

}  // namespace lowrank
