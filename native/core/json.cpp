#include "core/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>

#if !defined(__cpp_lib_to_chars)
#include <locale>
#include <sstream>
#endif

namespace lowrank {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

const char* kind_name(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::kNull: return "null";
    case Json::Kind::kBool: return "a boolean";
    case Json::Kind::kNumber: return "a number";
    case Json::Kind::kString: return "a string";
    case Json::Kind::kArray: return "an array";
    case Json::Kind::kObject: return "an object";
  }
  return "an unknown kind";
}

// The value of a number that the grammar has accepted; false when it does not fit into a double.
bool parse_double(std::string_view digits, double& value) {
#if defined(__cpp_lib_to_chars)
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return result.ec == std::errc() && std::isfinite(value);
#else
  // libc++ before version 20 has no from_chars for doubles. The classic locale's decimal point is '.'.
  std::istringstream stream{std::string(digits)};
  stream.imbue(std::locale::classic());
  stream >> value;
  return !stream.fail() && std::isfinite(value);
#endif
}

// The length of the UTF-8 sequence at the start of `text` (Unicode 15, table 3-7: no overlong forms, no
// surrogates, nothing above U+10FFFF), or 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;
    if (lead == 0xed && byte(1) > 0x9f) return 0;
    return continues(1) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (lead == 0xf0 && byte(1) < 0x90) return 0;
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;
    return continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, uint32_t code_point) {
  const auto push = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xc0 | (code_point >> 6));
    push(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    push(0xe0 | (code_point >> 12));
    push(0x80 | ((code_point >> 6) & 0x3f));
    push(0x80 | (code_point & 0x3f));
  } else {
    push(0xf0 | (code_point >> 18));
    push(0x80 | ((code_point >> 12) & 0x3f));
    push(0x80 | ((code_point >> 6) & 0x3f));
    push(0x80 | (code_point & 0x3f));
  }
}

}  // namespace

std::string quote_text(std::string_view text, size_t max_bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      out.push_back(c);
    }
  }
  out += text.size() > max_bytes ? "...\"" : "\"";
  return out;
}

// Recursive descent, one function a production of RFC 8259.
class JsonParser {
 public:
  JsonParser(std::string_view text, ErrorCode on_error, std::string_view name)
      : text_(text), on_error_(on_error), name_(name) {}

  Json document() {
    if (text_.size() > Json::kMaxBytes) {
      fail("a text of " + std::to_string(text_.size()) + " bytes, more than the " +
           std::to_string(Json::kMaxBytes) + " that are read,");
    }
    Json value = parse_value();
    skip_whitespace();
    if (position_ != text_.size()) fail("more text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& received) const {
    throw Error(on_error_, "Expected valid JSON for " + std::string(name_) + ", received " + received +
                               " at byte " + std::to_string(position_) +
                               ". Check that the file is complete and unchanged.");
  }

  bool at_end() const { return position_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[position_]; }
  bool accept(char c) {
    if (at_end() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void skip_whitespace() {
    while (!at_end() && (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')) ++position_;
  }
  void expect_literal(std::string_view literal) {
    if (text_.substr(position_, literal.size()) != literal) fail("an unknown word");
    position_ += literal.size();
  }
  Json make(Json::Value value) const { return Json(std::move(value), on_error_); }

  Json parse_value() {
    if (++values_ > Json::kMaxValues) fail("more than " + std::to_string(Json::kMaxValues) + " values");
    skip_whitespace();
    if (at_end()) fail("the end of the text");
    switch (peek()) {
      case 'n': expect_literal("null"); return make(std::monostate{});
      case 't': expect_literal("true"); return make(true);
      case 'f': expect_literal("false"); return make(false);
      case '"': return make(parse_string());
      case '[': return make(parse_array());
      case '{': return make(parse_object());
      default: return make(parse_number());
    }
  }

  void enter() {
    if (++depth_ > Json::kMaxDepth) fail("more than " + std::to_string(Json::kMaxDepth) + " levels");
    ++position_;
    skip_whitespace();
  }

  Json::Array parse_array() {
    Json::Array items;
    enter();
    if (!accept(']')) {
      do {
        items.push_back(parse_value());
        skip_whitespace();
      } while (accept(','));
      if (!accept(']')) fail("no \",\" or \"]\" after an array element");
    }
    --depth_;
    return items;
  }

  Json::Object parse_object() {
    Json::Object object;
    enter();
    if (!accept('}')) {
      do {
        skip_whitespace();
        if (peek() != '"') fail("no object key");
        std::string key = parse_string();
        skip_whitespace();
        if (!accept(':')) fail("no \":\" after an object key");
        object.members.push_back({std::move(key), parse_value()});
        skip_whitespace();
      } while (accept(','));
      if (!accept('}')) fail("no \",\" or \"}\" after an object member");
    }
    --depth_;
    index_keys(object);
    return object;
  }

  // Sorting, not hashing: no choice of keys makes it slow.
  void index_keys(Json::Object& object) const {
    const auto& members = object.members;
    object.by_key.resize(members.size());
    std::iota(object.by_key.begin(), object.by_key.end(), 0u);
    std::sort(object.by_key.begin(), object.by_key.end(),
              [&](uint32_t a, uint32_t b) { return members[a].key < members[b].key; });
    const auto same =
        std::adjacent_find(object.by_key.begin(), object.by_key.end(),
                           [&](uint32_t a, uint32_t b) { return members[a].key == members[b].key; });
    if (same != object.by_key.end())
      fail("the key " + quote_text(members[*same].key) + " twice in the object that ends");
  }

  std::string parse_string() {
    ++position_;  // the opening quote
    std::string out;
    for (;;) {
      const size_t plain_begin = position_;
      while (!at_end() && peek() != '"' && peek() != '\\') {
        if (static_cast<uint8_t>(peek()) < 0x20) fail("a control character in a string");
        const size_t length = utf8_length(text_.substr(position_, 4));
        if (length == 0) fail("bytes that are not UTF-8");
        position_ += length;
      }
      out.append(text_.substr(plain_begin, position_ - plain_begin));
      if (accept('"')) return out;
      if (!accept('\\')) fail("a string without an end");
      parse_escape(out);
    }
  }

  void parse_escape(std::string& out) {
    const char kind = peek();
    switch (kind) {
      case '"':
      case '\\':
      case '/': out.push_back(kind); break;
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 't': out.push_back('\t'); break;
      case 'u': {
        ++position_;
        uint32_t code_point = parse_hex4();
        if (code_point >= 0xd800 && code_point <= 0xdbff && accept('\\') && accept('u')) {
          const uint32_t low = parse_hex4();
          if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
          code_point = 0x10000 + ((code_point - 0xd800) << 10) + (low - 0xdc00);
        }
        if (code_point >= 0xd800 && code_point <= 0xdfff) fail("half a surrogate pair");
        append_utf8(out, code_point);
        return;
      }
      default: fail("an unknown escape");
    }
    ++position_;
  }

  uint32_t parse_hex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = peek();
      uint32_t digit = 0;
      if (is_digit(c)) {
        digit = static_cast<uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint32_t>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint32_t>(c - 'A') + 10;
      } else {
        fail("an escape without four hexadecimal digits");
      }
      value = value * 16 + digit;
      ++position_;
    }
    return value;
  }

  void skip_digits() {
    if (!is_digit(peek())) fail(at_end() ? "the end of the text" : "an unexpected character");
    while (is_digit(peek())) ++position_;
  }

  Json::Number parse_number() {
    const size_t begin = position_;
    bool written_as_integer = true;
    accept('-');
    if (!accept('0')) skip_digits();
    if (accept('.')) {
      written_as_integer = false;
      skip_digits();
    }
    if (accept('e') || accept('E')) {
      written_as_integer = false;
      if (!accept('+')) accept('-');
      skip_digits();
    }
    const std::string_view digits = text_.substr(begin, position_ - begin);
    Json::Number number{0.0, 0, false};
    if (!parse_double(digits, number.value)) fail("a number that no double holds");
    if (written_as_integer) {
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number.integer);
      number.is_integer = result.ec == std::errc();
    } else if (std::fabs(number.value) <= 0x1p53 && number.value == std::trunc(number.value)) {
      number.integer = static_cast<int64_t>(number.value);
      number.is_integer = true;
    }
    return number;
  }

  std::string_view text_;
  ErrorCode on_error_;
  std::string_view name_;
  size_t position_ = 0;
  size_t values_ = 0;
  int depth_ = 0;
};

Json Json::parse(std::string_view text, ErrorCode on_error, std::string_view name) {
  static_assert(std::is_nothrow_move_constructible_v<Json>,
                "growing an array must move its elements, never copy");
  return JsonParser(text, on_error, name).document();
}

Json::Json(Value value, ErrorCode on_error) : value_(std::move(value)), on_error_(on_error) {}

void Json::fail_kind(const char* expected, std::string_view name) const {
  const char* received = is_number() ? "a number that is none" : kind_name(kind());
  throw Error(on_error_, std::string("Expected ") + expected + " for " + std::string(name) + ", received " +
                             received + ". Correct the value in the file.");
}

bool Json::is_int64() const {
  const Number* number = std::get_if<Number>(&value_);
  return number != nullptr && number->is_integer;
}

bool Json::as_bool(std::string_view name) const {
  if (!is_bool()) fail_kind("a boolean", name);
  return std::get<bool>(value_);
}

double Json::as_double(std::string_view name) const {
  if (!is_number()) fail_kind("a number", name);
  return std::get<Number>(value_).value;
}

int64_t Json::as_int64(std::string_view name) const {
  if (!is_int64()) fail_kind("an integer of 64 bits", name);
  return std::get<Number>(value_).integer;
}

const std::string& Json::as_string(std::string_view name) const {
  if (!is_string()) fail_kind("a string", name);
  return std::get<std::string>(value_);
}

const std::vector<Json>& Json::items(std::string_view name) const {
  if (!is_array()) fail_kind("an array", name);
  return std::get<Array>(value_);
}

const std::vector<Json::Member>& Json::members(std::string_view name) const {
  if (!is_object()) fail_kind("an object", name);
  return std::get<Object>(value_).members;
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  const Object& object = std::get<Object>(value_);
  const auto found =
      std::lower_bound(object.by_key.begin(), object.by_key.end(), key,
                       [&](uint32_t i, std::string_view k) { return object.members[i].key < k; });
  if (found == object.by_key.end() || object.members[*found].key != key) return nullptr;
  return &object.members[*found].value;
}

}  // namespace lowrank
