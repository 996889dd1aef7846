#include "formats/gguf.h"

#include <filesystem>

#include "check.h"
#include "core/float16.h"
#include "formats/file_builders.h"
#include "formats/read_everything.h"
#include "formats/temporary_folder.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr ErrorCode kFormat = ErrorCode::kModelFormat;
constexpr ErrorCode kUnsupported = ErrorCode::kModelUnsupported;

std::unique_ptr<GgufFile> open_bytes(const Bytes& bytes) { return open_gguf(wrap_bytes(bytes)); }

// A builder with one valid F32 tensor of 8 elements, 32 bytes.
GgufBuilder with_tensor() {
  GgufBuilder builder;
  builder.add_tensor("t", {8}, 0, Bytes(32));
  return builder;
}

}  // namespace

TEST("gguf: metadata of every type, in versions 2 and 3") {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder builder;
    builder.version = version;
    builder.add_scalar<uint8_t>("u8", 0, 200);
    builder.add_scalar<int8_t>("i8", 1, -100);
    builder.add_scalar<uint16_t>("u16", 2, 60000);
    builder.add_scalar<int16_t>("i16", 3, -30000);
    builder.add_scalar<uint32_t>("u32", 4, 4000000000u);
    builder.add_scalar<int32_t>("i32", 5, -2000000000);
    builder.add_scalar<float>("f32", 6, 1.5f);
    builder.add_scalar<uint8_t>("bool", 7, 1);
    builder.add_string("string",
                       "gr\xc3\xb6\xc3\x9f"
                       "e");
    builder.add_scalar<uint64_t>("u64", 10, UINT64_MAX);
    builder.add_scalar<int64_t>("i64", 11, INT64_MIN);
    builder.add_scalar<double>("f64", 12, 0.1);
    const auto file = open_bytes(builder.build());
    const auto value = [&](const char* key) { return *file->find_value(key); };
    CHECK_EQ(file->version(), version);
    CHECK_EQ(file->alignment(), uint64_t{32});
    CHECK_EQ(file->members().size(), size_t{12});
    CHECK_EQ(file->members()[1].key, std::string("i8"));
    CHECK_EQ(value("u8").as_int64("u8"), 200);
    CHECK_EQ(value("i8").as_int64("i8"), -100);
    CHECK_EQ(value("u16").as_int64("u16"), 60000);
    CHECK_EQ(value("i16").as_int64("i16"), -30000);
    CHECK_EQ(value("u32").as_int64("u32"), 4000000000);
    CHECK_EQ(value("i32").as_int64("i32"), -2000000000);
    CHECK_EQ(value("f32").as_double("f32"), 1.5);
    CHECK(value("bool").as_bool("bool"));
    CHECK_EQ(std::string(value("string").as_string("string")), std::string("gr\xc3\xb6\xc3\x9f"
                                                                           "e"));
    CHECK_THROWS_CODE(value("u64").as_int64("u64"), kFormat);
    CHECK_EQ(value("u64").as_double("u64"), 0x1p64);
    CHECK_EQ(value("i64").as_int64("i64"), INT64_MIN);
    CHECK_EQ(value("f64").as_double("f64"), 0.1);
    CHECK_EQ(value("u8").as_double("u8"), 200.0);
    CHECK(value("u8").is_integer() && value("u8").is_number() && !value("u8").is_string());
    CHECK(value("f32").is_number() && !value("f32").is_integer());
    CHECK(file->find_value("u9") == nullptr);
  }
}

TEST("gguf: arrays") {
  GgufBuilder builder;
  builder.add_strings("tokens", {"a", "", std::string("\0b", 2), "ccc"});
  builder.add_array("types", 5, 3, bytes_of<int32_t>({1, -2, 3}));
  builder.add_array("scores", 6, 2, bytes_of<float>({0.5f, -1.0f}));
  builder.add_array("bools", 7, 2, {1, 0});
  builder.add_array("none", 8, 0, {});
  builder.add_array("no_numbers", 4, 0, {});
  const auto file = open_bytes(builder.build());
  const GgufValue& tokens = *file->find_value("tokens");
  CHECK(tokens.is_array() && !tokens.is_string());
  CHECK(tokens.element_type() == GgufType::kString);
  CHECK_EQ(tokens.size(), size_t{4});
  CHECK_EQ(std::string(tokens.string_at(0, "tokens")), std::string("a"));
  CHECK(tokens.string_at(1, "tokens").empty());
  CHECK_EQ(std::string(tokens.string_at(2, "tokens")), std::string("\0b", 2));
  CHECK_EQ(std::string(tokens.string_at(3, "tokens")), std::string("ccc"));
  CHECK_THROWS_CODE(tokens.string_at(4, "tokens"), kFormat);
  CHECK_THROWS_CODE(tokens.int64_at(0, "tokens"), kFormat);
  CHECK_THROWS_CODE(tokens.as_string("tokens"), kFormat);
  CHECK_EQ(file->find_value("types")->int64_at(1, "types"), -2);
  CHECK_EQ(file->find_value("types")->double_at(2, "types"), 3.0);
  CHECK_THROWS_CODE(file->find_value("types")->as_int64("types"), kFormat);
  CHECK_THROWS_CODE(file->find_value("types")->int64_at(SIZE_MAX, "types"), kFormat);
  CHECK_EQ(file->find_value("scores")->double_at(1, "scores"), -1.0);
  CHECK_THROWS_CODE(file->find_value("scores")->int64_at(1, "scores"), kFormat);
  CHECK(file->find_value("bools")->bool_at(0, "bools"));
  CHECK(!file->find_value("bools")->bool_at(1, "bools"));
  CHECK_EQ(file->find_value("none")->size(), size_t{0});
  CHECK_EQ(file->find_value("no_numbers")->size(), size_t{0});
}

TEST("gguf: a vocabulary of 262,144 tokens") {
  std::vector<std::string> tokens;
  for (int i = 0; i < 262'144; ++i) tokens.push_back("t" + std::to_string(i));
  GgufBuilder builder;
  builder.add_strings("tokens", tokens);
  const auto file = open_bytes(builder.build());
  const GgufValue& value = *file->find_value("tokens");
  CHECK_EQ(value.size(), tokens.size());
  int wrong = 0;
  for (size_t i = 0; i < tokens.size(); ++i) wrong += value.string_at(i, "tokens") == tokens[i] ? 0 : 1;
  CHECK_EQ(wrong, 0);
}

TEST("gguf: shapes are given outermost first, and rows are found") {
  GgufBuilder builder;
  std::vector<uint16_t> halves;
  for (int i = 0; i < 6; ++i) halves.push_back(float32_to_float16(static_cast<float>(i)));
  builder.add_tensor("m", {3, 2}, 1, bytes_of(halves));
  builder.add_tensor("v", {2}, 0, bytes_of<float>({8, 9}));
  // Q8_0, scale 1: row r holds 32 times r.
  Bytes blocks;
  for (int8_t row = 0; row < 5; ++row) {
    append_value<uint16_t>(blocks, 0x3c00);
    append(blocks, Bytes(32, static_cast<uint8_t>(row)));
  }
  builder.add_tensor("q", {32, 5}, 8, blocks);
  const auto file = open_bytes(builder.build());
  const TensorInfo& m = *file->find("m");
  CHECK(m.shape == std::vector<int64_t>({2, 3}));
  float out[96];
  file->read_rows(m, 1, 1, out);
  CHECK(std::vector<float>(out, out + 3) == std::vector<float>({3, 4, 5}));
  file->read_rows(*file->find("v"), 0, 1, out);
  CHECK(std::vector<float>(out, out + 2) == std::vector<float>({8, 9}));
  file->read_rows(*file->find("q"), 2, 3, out);
  CHECK_EQ(out[0], 2.0f);
  CHECK_EQ(out[95], 4.0f);
}

TEST("gguf: the alignment key moves the data") {
  GgufBuilder builder;
  builder.alignment = 256;
  builder.add_scalar<uint32_t>("general.alignment", 4, 256);
  builder.add_tensor("a", {1}, 0, bytes_of<float>({1}));
  builder.add_tensor("b", {1}, 0, bytes_of<float>({2}));
  const auto file = open_bytes(builder.build());
  CHECK_EQ(file->alignment(), uint64_t{256});
  CHECK_EQ(file->find("b")->offset % 256, uint64_t{0});
  float out = 0;
  file->read_rows(*file->find("b"), 0, 1, &out);
  CHECK_EQ(out, 2.0f);
  for (const uint32_t bad : {0u, 3u, 48u, 1u << 21, 0xffffffffu}) {
    GgufBuilder wrong = with_tensor();
    wrong.add_scalar<uint32_t>("general.alignment", 4, bad);
    CHECK_THROWS_CODE(open_bytes(wrong.build()), kFormat);
  }
  GgufBuilder text = with_tensor();
  text.add_string("general.alignment", "32");
  CHECK_THROWS_CODE(open_bytes(text.build()), kFormat);
}

TEST("gguf: files of another kind or version") {
  Bytes file = with_tensor().build();
  CHECK(open_bytes(file) != nullptr);
  file[0] = 'g';
  CHECK_THROWS_CODE(open_bytes(file), kFormat);
  CHECK_THROWS_CODE(open_bytes({}), kFormat);
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    GgufBuilder builder = with_tensor();
    builder.version = version;
    CHECK_THROWS_CODE(open_bytes(builder.build()), kUnsupported);
  }
}

TEST("gguf: huge counts and lengths are refused before anything is allocated") {
  const auto header = [](uint64_t tensors, uint64_t members) {
    Bytes file;
    append(file, "GGUF");
    append_value<uint32_t>(file, 3);
    append_value(file, tensors);
    append_value(file, members);
    file.resize(file.size() + 100);
    return file;
  };
  for (const uint64_t count : {uint64_t{20}, uint64_t{1} << 32, uint64_t{1} << 61, UINT64_MAX}) {
    CHECK_THROWS_CODE(open_bytes(header(count, 0)), kFormat);
    CHECK_THROWS_CODE(open_bytes(header(0, count)), kFormat);
    GgufBuilder strings = with_tensor();
    strings.add_array("a", 8, count, Bytes(64));
    CHECK_THROWS_CODE(open_bytes(strings.build()), kFormat);
    GgufBuilder numbers = with_tensor();
    numbers.add_array("a", 12, count, Bytes(64));
    CHECK_THROWS_CODE(open_bytes(numbers.build()), kFormat);
    GgufBuilder string = with_tensor();
    string.add("a", 8, bytes_of<uint64_t>({count + 500}));
    CHECK_THROWS_CODE(open_bytes(string.build()), kFormat);
  }
}

TEST("gguf: metadata that is not what the format says") {
  const auto refused = [](const auto& change) {
    GgufBuilder builder = with_tensor();
    change(builder);
    CHECK_THROWS_CODE(open_bytes(builder.build()), kFormat);
  };
  refused([](GgufBuilder& b) { b.add("a", 13, Bytes(8)); });
  refused([](GgufBuilder& b) { b.add("a", UINT32_MAX, Bytes(8)); });
  refused([](GgufBuilder& b) {
    b.add_array("a", 9, 1, bytes_of<uint32_t>({0, 0, 0}));
  });  // an array of arrays
  refused([](GgufBuilder& b) { b.add_array("a", 99, 0, {}); });
  refused([](GgufBuilder& b) { b.add_scalar<uint8_t>("a", 7, 2); });
  refused([](GgufBuilder& b) { b.add_array("a", 7, 2, {1, 7}); });
  refused([](GgufBuilder& b) { b.add_scalar<uint32_t>("", 4, 1); });
  refused([](GgufBuilder& b) { b.add_scalar<uint32_t>(std::string(70'000, 'k'), 4, 1); });
  refused([](GgufBuilder& b) {
    b.add_scalar<uint32_t>("twice", 4, 1);
    b.add_scalar<uint32_t>("other", 4, 1);
    b.add_scalar<uint32_t>("twice", 4, 1);
  });
}

TEST("gguf: tensors that are not what the format says") {
  const auto refused = [](ErrorCode code, const auto& change) {
    GgufBuilder builder = with_tensor();
    change(builder);
    CHECK_THROWS_CODE(open_bytes(builder.build()), code);
  };
  const uint64_t big = uint64_t{1} << 32;
  refused(kFormat, [](GgufBuilder& b) { b.add_record("t", {8}, 0, 32); });  // the name twice (and no data)
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("t", {8}, 0, Bytes(32)); });  // the name twice
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("", {8}, 0, Bytes(32)); });
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor(std::string(2000, 'n'), {8}, 0, Bytes(32)); });
  refused(kFormat, [](GgufBuilder& b) { b.add_record("u", {8}, 0, 0); });                // overlaps all of t
  refused(kFormat, [](GgufBuilder& b) { b.add_record("u", {8}, 0, 32); });               // beyond the file
  refused(kFormat, [](GgufBuilder& b) { b.add_record("u", {8}, 0, UINT64_MAX - 31); });  // offset overflows
  refused(kFormat, [](GgufBuilder& b) { b.add_record("u", {8}, 0, (uint64_t{1} << 63)); });
  refused(kFormat, [](GgufBuilder& b) {  // not aligned, though the bytes are there and free
    b.add_tensor("u", {1}, 0, Bytes(64));
    b.add_record("v", {1}, 0, 36);
  });
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {}, 0, Bytes(4)); });  // no dimensions
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {1, 1, 1, 1, 1}, 0, Bytes(4)); });
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {0}, 0, Bytes(32)); });
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {UINT64_MAX}, 0, Bytes(32)); });
  refused(kFormat, [&](GgufBuilder& b) { b.add_tensor("u", {big, big}, 0, Bytes(32)); });
  refused(kFormat, [&](GgufBuilder& b) { b.add_tensor("u", {big, big / 2, 2, 8}, 0, Bytes(32)); });
  refused(kFormat, [&](GgufBuilder& b) {
    b.add_tensor("u", {big, big / 4}, 0, Bytes(32));
  });                                                                                  // bytes overflow
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {33}, 8, Bytes(68)); });     // not whole blocks
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {16, 2}, 8, Bytes(34)); });  // blocks across rows
  refused(kFormat, [](GgufBuilder& b) { b.add_tensor("u", {128, 2}, 12, Bytes(144)); });
  for (const uint32_t type : {4u, 9u, 10u, 15u, 16u, 23u, 31u, 39u, 1000u, UINT32_MAX}) {
    refused(kUnsupported, [&](GgufBuilder& b) { b.add_tensor("u", {256}, type, Bytes(512)); });
  }
}

TEST("gguf: overlap is found whatever the order of the records") {
  GgufBuilder builder;
  builder.add_tensor("c", {16}, 0, Bytes(64));  // bytes 0 .. 64
  builder.add_tensor("d", {8}, 0, Bytes(32));   // 64 .. 96
  builder.add_record("a", {8}, 0, 32);          // 32 .. 64, inside c
  CHECK_THROWS_CODE(open_bytes(builder.build()), kFormat);
}

TEST("gguf: the message names file, tensor, what was expected and what to do") {
  GgufBuilder builder = with_tensor();
  builder.add_tensor("blk.0.attn_q.weight", {256}, 10, Bytes(84));
  try {
    open_gguf(wrap_bytes(builder.build(), "model.gguf"));
    CHECK(false);
  } catch (const Error& error) {
    CHECK_EQ(
        std::string(error.what()),
        std::string(
            "Expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K for tensor "
            "\"blk.0.attn_q.weight\" in model.gguf, received Q2_K. Take a file quantised to one of these "
            "types."));
  }
}

TEST("gguf: every truncation is refused") {
  const Bytes whole = small_gguf();
  for (size_t length = 0; length < whole.size(); ++length) {
    CHECK_THROWS_CODE(open_bytes(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))),
                      kFormat);
  }
  const auto file = open_bytes(whole);
  CHECK(read_all(*file) > 0);
  CHECK(read_all_values(*file) > 0);
}

TEST("gguf: a file that is cut short after it was opened gives an error on reading") {
  const TemporaryFolder folder;
  const std::string path = folder.write("model.gguf", small_gguf());
  const auto file = open_gguf(path);
  CHECK(read_all(*file) > 0);
  std::filesystem::resize_file(path, file->find("token_embd.weight")->offset + 10);
  std::vector<float> out(96);
  CHECK_THROWS_CODE(file->read_rows(*file->find("token_embd.weight"), 0, 3, out.data()), ErrorCode::kIo);
  CHECK_EQ(std::string(file->find_value("general.architecture")->as_string("architecture")),
           std::string("llama"));
  CHECK_THROWS_CODE(open_gguf(path), kFormat);
  CHECK_THROWS_CODE(open_gguf((folder.path() / "missing.gguf").string()), ErrorCode::kIo);
}

TEST("gguf: the parts of a split model are one source, and other parts are refused") {
  const TemporaryFolder folder;
  // Part `number` from 0 on; `first` has the metadata.
  const auto part = [](uint16_t number, uint16_t count, bool first) {
    GgufBuilder builder;
    if (first) builder.add_string("general.name", "split");
    builder.add_scalar<uint16_t>("split.no", 2, number);
    builder.add_scalar<uint16_t>("split.count", 2, count);
    builder.add_scalar<int32_t>("split.tensors.count", 5, count);
    const std::vector<float> values(8, static_cast<float>(number + 1));
    builder.add_tensor("t" + std::to_string(number), {8}, 0, bytes_of(values));
    return builder;
  };
  const std::string path = folder.write("m-00001-of-00003.gguf", part(0, 3, true).build());
  const std::string second = folder.write("m-00002-of-00003.gguf", part(1, 3, false).build());
  CHECK_THROWS_CODE(GgufFile::open_model(path), ErrorCode::kIo);  // the third is missing
  folder.write("m-00003-of-00003.gguf", part(2, 3, false).build());

  const auto model = GgufFile::open_model(path);
  CHECK_EQ(model->tensors().size(), size_t{3});
  CHECK_EQ(std::string(model->find_value("general.name")->as_string("general.name")), std::string("split"));
  for (int number = 0; number < 3; ++number) {
    std::vector<float> values(8);
    model->read_rows(*model->find("t" + std::to_string(number)), 0, 1, values.data());
    CHECK_EQ(values[7], static_cast<float>(number + 1));
  }

  CHECK_THROWS_CODE(GgufFile::open_model(second), kFormat);
  CHECK_THROWS_CODE(GgufFile::open_model(folder.write("m.gguf", part(0, 3, true).build())), kFormat);
  CHECK_THROWS_CODE(GgufFile::open_model(folder.write("m-00001-of-60000.gguf", part(0, 60000, true).build())), kFormat);
  for (const GgufBuilder& other : {part(2, 3, false), part(1, 4, false), part(1, 3, true), with_tensor()}) {
    folder.write("m-00002-of-00003.gguf", other.build());
    // A part may repeat the first one's metadata.
    const bool is_same = other.build() == part(1, 3, true).build();
    if (is_same)
      CHECK_EQ(GgufFile::open_model(path)->tensors().size(), size_t{3});
    else
      CHECK_THROWS_CODE(GgufFile::open_model(path), kFormat);
  }
}
