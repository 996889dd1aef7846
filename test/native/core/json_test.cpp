#include "core/json.h"

#include <cmath>
#include <limits>

#include "check.h"

using namespace lowrank;

namespace {

constexpr ErrorCode kFormat = ErrorCode::kModelFormat;

std::string message_of(std::string_view text) {
  try {
    Json::parse(text, kFormat, "test.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST("json: values of every kind") {
  const Json json = Json::parse(R"( {"a": [1, -2.5, true, false, null, "x"], "b": {"c": {}}, "": []} )");
  CHECK(json.is_object());
  CHECK_EQ(json.members().size(), size_t{3});
  CHECK_EQ(json.members()[0].key, std::string("a"));
  const auto& items = json.find("a")->items();
  CHECK_EQ(items.size(), size_t{6});
  CHECK_EQ(items[0].as_int64(), 1);
  CHECK_EQ(items[1].as_double(), -2.5);
  CHECK(items[2].as_bool());
  CHECK(!items[3].as_bool());
  CHECK(items[4].is_null());
  CHECK_EQ(items[5].as_string(), std::string("x"));
  CHECK(json.find("b")->find("c")->members().empty());
  CHECK(json.find("")->items().empty());
  CHECK(json.find("missing") == nullptr);
  CHECK(items[0].find("a") == nullptr);
}

TEST("json: whitespace of the grammar is skipped, nothing else is") {
  CHECK(Json::parse(" \t\r\n[ \n1 ,\t2 ]\r ").is_array());
  CHECK_THROWS_CODE(Json::parse("\v1"), kFormat);
  CHECK_THROWS_CODE(Json::parse("\xef\xbb\xbf{}"), kFormat);  // a byte order mark
  CHECK_THROWS_CODE(Json::parse("\xc2\xa0 1"), kFormat);
}

TEST("json: integers are exact over all of int64") {
  CHECK_EQ(Json::parse("9223372036854775807").as_int64(), std::numeric_limits<int64_t>::max());
  CHECK_EQ(Json::parse("-9223372036854775808").as_int64(), std::numeric_limits<int64_t>::min());
  CHECK_EQ(Json::parse("9007199254740993").as_int64(), 9007199254740993);
  CHECK_EQ(Json::parse("1e4").as_int64(), 10000);
  CHECK_EQ(Json::parse("-1.0").as_int64(), -1);
  CHECK(!Json::parse("9223372036854775808").is_int64());
  CHECK_EQ(Json::parse("9223372036854775808").as_double(), 0x1p63);
  CHECK(!Json::parse("1.5").is_int64());
  CHECK(!Json::parse("1e300").is_int64());
  CHECK(!Json::parse("\"1\"").is_int64());
}

TEST("json: doubles are the nearest to the digits") {
  CHECK_EQ(Json::parse("0.1").as_double(), 0.1);
  CHECK_EQ(Json::parse("1e-05").as_double(), 1e-5);
  CHECK_EQ(Json::parse("123456789.123456789e-3").as_double(), 123456.789123456789);
  CHECK_EQ(Json::parse("2.2250738585072011e-308").as_double(), 2.2250738585072011e-308);
  CHECK_EQ(Json::parse("5e-324").as_double(), 5e-324);
  CHECK_EQ(Json::parse("1.7976931348623157e308").as_double(), std::numeric_limits<double>::max());
  CHECK(std::signbit(Json::parse("-0").as_double()));
}

TEST("json: numbers outside the grammar are refused") {
  for (const char* text : {"01", "-", "+1", ".5", "1.", "1e", "1e+", "0x10", "1_0", "NaN", "Infinity",
                           "-Infinity", "1e999", "-1e999", "--1", "1.e5", "00", "- 1"}) {
    CHECK_THROWS_CODE(Json::parse(text), kFormat);
  }
}

TEST("json: escapes") {
  CHECK_EQ(Json::parse(R"("\"\\\/\b\f\n\r\t")").as_string(), std::string("\"\\/\b\f\n\r\t"));
  CHECK_EQ(Json::parse(R"("\u0041\u00e9\u20AC\ud83d\ude00")").as_string(),
           std::string("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
  CHECK_EQ(Json::parse(R"("\u0000")").as_string(), std::string(1, '\0'));
  for (const char* text :
       {R"("\x41")", R"("\u004")", R"("\u00g0")", R"("\ud83d")", R"("\ud83dx")", R"("\ud83d\n")",
        R"("\ud83d\ud83d")", R"("\ude00")", R"("\)", R"("\u)", R"("\ud83d\u)"}) {
    CHECK_THROWS_CODE(Json::parse(text), kFormat);
  }
}

TEST("json: strings must be UTF-8") {
  for (const char* good : {"\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK_EQ(Json::parse("\"" + std::string(good) + "\"").as_string(), std::string(good));
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    CHECK_THROWS_CODE(Json::parse("\"" + std::string(bad) + "\""), kFormat);
  }
  CHECK_THROWS_CODE(Json::parse("\"\n\""), kFormat);
  CHECK_THROWS_CODE(Json::parse(std::string_view("\"\0\"", 3)), kFormat);
}

TEST("json: broken structure is refused") {
  for (const char* text :
       {"",      " ",         "[",      "]",       "{",        "}",         "[1",         "[1,",  "[1,]",
        "[,1]",  "[1 2]",     "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}",  "{a:1}",
        "{1:1}", "{\"a\" 1}", "[1]]",   "{} {}",   "1 2",      "nul",       "nulll",      "True", "'a'",
        "//",    "[1]/**/",   "\"",     "\"a",     "[1}",      "{\"a\":1]"}) {
    CHECK_THROWS_CODE(Json::parse(text), kFormat);
  }
}

TEST("json: every prefix of a document is refused") {
  const std::string text = R"({"a": [1.5e3, "\u00e9\n", {"b": true}], "c": null})";
  for (size_t length = 0; length < text.size(); ++length) {
    CHECK_THROWS_CODE(Json::parse(std::string_view(text).substr(0, length)), kFormat);
  }
  CHECK(Json::parse(text).is_object());
}

TEST("json: a key may stand once in an object") {
  CHECK_THROWS_CODE(Json::parse(R"({"a":1,"b":2,"a":1})"), kFormat);
  CHECK_THROWS_CODE(Json::parse(R"({"a":1,"\u0061":1})"), kFormat);
  CHECK(Json::parse(R"({"a":{"a":1}})").is_object());
}

TEST("json: depth is bounded") {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
  };
  CHECK(Json::parse(nested(Json::kMaxDepth)).is_array());
  CHECK_THROWS_CODE(Json::parse(nested(Json::kMaxDepth + 1)), kFormat);
  CHECK_THROWS_CODE(Json::parse(std::string(10'000'000, '[')), kFormat);
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  CHECK_THROWS_CODE(Json::parse(objects), kFormat);
}

TEST("json: the number of values is bounded") {
  std::string text = "[0";
  for (size_t i = 1; i < Json::kMaxValues; ++i) text += ",0";
  CHECK_THROWS_CODE(Json::parse(text + "]"), kFormat);
  text.resize(text.size() - 2);  // with the array itself exactly the limit
  CHECK_EQ(Json::parse(text + "]").items().size(), Json::kMaxValues - 1);
}

TEST("json: a large object finds every key") {
  std::string text = "{";
  for (int i = 0; i < 20000; ++i)
    text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":" + std::to_string(i);
  const Json json = Json::parse(text + "}");
  for (int i = 0; i < 20000; ++i) CHECK_EQ(json.find("k" + std::to_string(i))->as_int64(), i);
}

TEST("json: errors carry the caller's code, the name, the place and the remedy") {
  CHECK_THROWS_CODE(Json::parse("{", ErrorCode::kAdapterFormat), ErrorCode::kAdapterFormat);
  CHECK_THROWS_CODE(Json::parse("{\"r\":\"8\"}", ErrorCode::kAdapterFormat).find("r")->as_int64("r"),
                    ErrorCode::kAdapterFormat);
  const std::string message = message_of("{\"a\":1,\"a\":2}");
  CHECK(message.starts_with("Expected valid JSON for test.json, received the key \"a\" twice"));
  CHECK(message.find("at byte 13.") != std::string::npos);
  CHECK(message.ends_with("Check that the file is complete and unchanged."));
}

TEST("json: accessors of another kind throw") {
  const Json json = Json::parse(R"({"a":1.5})");
  CHECK_THROWS_CODE(json.as_bool(), kFormat);
  CHECK_THROWS_CODE(json.as_double(), kFormat);
  CHECK_THROWS_CODE(json.as_string(), kFormat);
  CHECK_THROWS_CODE(json.items(), kFormat);
  CHECK_THROWS_CODE(json.find("a")->members(), kFormat);
  CHECK_THROWS_CODE(json.find("a")->as_int64(), kFormat);
}

TEST("json: text of strangers is quoted harmlessly in messages") {
  CHECK_EQ(quote_text("plain.name"), std::string("\"plain.name\""));
  CHECK_EQ(quote_text("a\"b\\\n\x1b\xff"), std::string("\"a\\x22b\\x5c\\x0a\\x1b\\xff\""));
  CHECK_EQ(quote_text("abcdef", 3), std::string("\"abc...\""));
}
