// Files that the usual Python libraries wrote (make_file_golden.py) hold what that script put into them.
#include <filesystem>

#include "check.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

using namespace lowrank;

namespace {

std::string data_path(const char* name) {
  return (std::filesystem::path(__FILE__).parent_path() / "data" / name).string();
}

std::vector<float> values_of(const TensorSource& source, std::string_view name) {
  const TensorInfo* tensor = source.find(name);
  CHECK(tensor != nullptr);
  std::vector<float> out(static_cast<size_t>(tensor->elements()));
  source.read_rows(*tensor, 0, tensor->rows(), out.data());
  return out;
}

std::vector<float> ramp(size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i % 64) / 8;
  return values;
}

}  // namespace

TEST("golden: the gguf package's metadata") {
  const auto file = open_gguf(data_path("golden.gguf"));
  const auto integer = [&](const char* key) { return file->find_value(key)->as_int64(key); };
  CHECK_EQ(file->version(), 3u);
  CHECK_EQ(file->alignment(), uint64_t{64});
  CHECK_EQ(std::string(file->find_value("general.architecture")->as_string("")), std::string("llama"));
  CHECK_EQ(integer("test.uint8"), 200);
  CHECK_EQ(integer("test.int8"), -100);
  CHECK_EQ(integer("test.uint16"), 60000);
  CHECK_EQ(integer("test.int16"), -30000);
  CHECK_EQ(integer("test.uint32"), 4000000000);
  CHECK_EQ(integer("test.int32"), -2000000000);
  CHECK_EQ(file->find_value("test.uint64")->as_double(""), 0x1p63);
  CHECK_EQ(integer("test.int64"), -(int64_t{1} << 62) - 1);
  CHECK_EQ(file->find_value("test.float32")->as_double(""), 1.5);
  CHECK_EQ(file->find_value("test.float64")->as_double(""), 0.1);
  CHECK(file->find_value("test.bool")->as_bool(""));
  CHECK_EQ(std::string(file->find_value("test.string")->as_string("")), std::string("gr\xc3\xb6\xc3\x9f"
                                                                                    "e"));
  const GgufValue& tokens = *file->find_value("tokenizer.ggml.tokens");
  CHECK_EQ(tokens.size(), size_t{4});
  CHECK_EQ(std::string(tokens.string_at(2, "")), std::string("\xe2\x96\x81the"));
  CHECK_EQ(std::string(tokens.string_at(3, "")), std::string("\xf0\x9f\x98\x80"));
  CHECK_EQ(file->find_value("tokenizer.ggml.token_type")->int64_at(3, ""), 6);
  CHECK_EQ(file->find_value("test.floats")->double_at(1, ""), -1.25);
}

TEST("golden: the gguf package's tensors") {
  const auto file = open_gguf(data_path("golden.gguf"));
  CHECK_EQ(file->tensors().size(), size_t{5});
  CHECK(file->find("f32")->shape == std::vector<int64_t>({3, 5}));
  CHECK(values_of(*file, "f32") == ramp(15));
  CHECK(values_of(*file, "f16") == ramp(7));
  CHECK(file->find("bf16")->shape == std::vector<int64_t>({2, 64}));
  CHECK(values_of(*file, "bf16") == ramp(128));
  CHECK(file->find("q8_0")->dtype == DType::kQ8_0);
  std::vector<float> expected(128);
  for (size_t i = 0; i < 128; ++i) expected[i] = i % 32 == 0 ? 127.0f : static_cast<float>(i % 32 - 1);
  CHECK(values_of(*file, "q8_0") == expected);
  CHECK(file->find("q4_1")->shape == std::vector<int64_t>({4, 64}));
  expected.resize(256);
  for (size_t i = 0; i < 256; ++i) expected[i] = static_cast<float>(i % 16);
  CHECK(values_of(*file, "q4_1") == expected);
}

TEST("golden: the safetensors package's tensors, in one file and in shards") {
  const auto file = open_safetensors(data_path("golden.safetensors"));
  CHECK_EQ(file->tensors().size(), size_t{6});
  CHECK(values_of(*file, "f32") == ramp(15));
  CHECK(file->find("f16")->shape == std::vector<int64_t>({2, 3, 4}));
  CHECK(values_of(*file, "f16") == ramp(24));
  CHECK(values_of(*file, "f64") == ramp(4));
  CHECK(values_of(*file, "scalar") == std::vector<float>{2.5f});
  CHECK(file->find("empty")->shape == std::vector<int64_t>({0, 5}));
  CHECK_EQ(std::string(dtype_facts(file->find("i64")->dtype).name), std::string("I64"));
  const auto shards = open_safetensors(data_path("golden_sharded"));
  CHECK_EQ(shards->tensors().size(), size_t{3});
  CHECK(values_of(*shards, "f32") == ramp(15));
  CHECK(values_of(*shards, "f16") == ramp(24));
  CHECK(values_of(*shards, "scalar") == std::vector<float>{2.5f});
}
