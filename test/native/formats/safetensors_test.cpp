#include "formats/safetensors.h"

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

std::unique_ptr<TensorSource> open_bytes(const Bytes& bytes) { return open_safetensors(wrap_bytes(bytes)); }

// A file with `data_bytes` zero bytes of data and this header, opened.
std::unique_ptr<TensorSource> open_header(const std::string& header, size_t data_bytes) {
  return open_bytes(safetensors_file(header, Bytes(data_bytes)));
}

std::vector<float> rows_of(const TensorSource& source, std::string_view name, int64_t begin, int64_t count) {
  const TensorInfo* tensor = source.find(name);
  CHECK(tensor != nullptr);
  std::vector<float> out(static_cast<size_t>(count * tensor->row_length()));
  source.read_rows(*tensor, begin, count, out.data());
  return out;
}

std::string one_tensor(std::string_view dtype, std::string_view shape, uint64_t begin, uint64_t end) {
  return "{" + safetensors_entry("t", dtype, shape, begin, end) + "}";
}

// A shard with one F32 tensor of one element.
Bytes shard(const std::string& name, float value) {
  return safetensors_file("{" + safetensors_entry(name, "F32", "[1]", 0, 4) + "}", bytes_of<float>({value}));
}

}  // namespace

TEST("safetensors: rows of every floating type come out as float32") {
  const std::vector<float> values = {0, 1, -2.5, 3, 0.125, -6};
  std::vector<uint16_t> halves;
  std::vector<uint16_t> brains;
  std::vector<double> doubles;
  for (const float value : values) {
    halves.push_back(float32_to_float16(value));
    brains.push_back(float32_to_bfloat16(value));
    doubles.push_back(static_cast<double>(value));
  }
  Bytes data = bytes_of(values);
  append(data, bytes_of(halves));
  append(data, bytes_of(brains));
  append(data, bytes_of(doubles));
  const auto source =
      open_bytes(safetensors_file("{" + safetensors_entry("f32", "F32", "[3,2]", 0, 24) + "," +
                                      safetensors_entry("f16", "F16", "[3,2]", 24, 36) + "," +
                                      safetensors_entry("bf16", "BF16", "[3,1,2]", 36, 48) + "," +
                                      safetensors_entry("f64", "F64", "[6]", 48, 96) + "}",
                                  data));
  CHECK_EQ(source->tensors().size(), size_t{4});
  CHECK_EQ(source->tensors()[2].name, std::string("bf16"));
  for (const char* name : {"f32", "f16", "bf16"}) {
    CHECK(rows_of(*source, name, 0, 3) == values);
    CHECK(rows_of(*source, name, 1, 1) == std::vector<float>(values.begin() + 2, values.begin() + 4));
    CHECK(rows_of(*source, name, 3, 0).empty());
  }
  CHECK(rows_of(*source, "f64", 0, 1) == values);  // a vector is one row
  CHECK(source->find("f3") == nullptr);
  CHECK_EQ(source->find("bf16")->row_length(), 2);
  CHECK_EQ(source->find("bf16")->rows(), 3);
  CHECK_EQ(source->find("f64")->rows(), 1);
}

TEST("safetensors: rows in blocks larger than the scratch are whole") {
  const int64_t rows = 700;
  const int64_t length = 513;
  std::vector<uint16_t> data(static_cast<size_t>(rows * length));
  for (size_t i = 0; i < data.size(); ++i) data[i] = float32_to_bfloat16(static_cast<float>(i % 251));
  CHECK(data.size() * 2 > 2 * TensorSource::kScratchBytes);
  const auto source =
      open_bytes(safetensors_file(one_tensor("BF16", "[700,513]", 0, data.size() * 2), bytes_of(data)));
  const std::vector<float> out = rows_of(*source, "t", 5, rows - 5);
  int wrong = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] != static_cast<float>((i + 5 * static_cast<size_t>(length)) % 251)) ++wrong;
  }
  CHECK_EQ(wrong, 0);
}

TEST("safetensors: scalars, empty tensors and metadata") {
  const auto source = open_bytes(small_safetensors());
  CHECK_EQ(source->tensors().size(), size_t{6});
  CHECK(source->find("__metadata__") == nullptr);
  CHECK_EQ(source->find("scale")->elements(), 1);
  CHECK_EQ(source->find("empty")->elements(), 0);
  CHECK(rows_of(*source, "scale", 0, 1).size() == 1);
  CHECK(rows_of(*source, "empty", 0, 0).empty());
  CHECK(open_header("{}", 0)->tensors().empty());
}

TEST("safetensors: rows that do not exist and types that are no floats are refused") {
  const auto source = open_bytes(small_safetensors());
  float out[64];
  const TensorInfo& embed = *source->find("embed");
  CHECK_THROWS_CODE(source->read_rows(embed, 2, 2, out), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(source->read_rows(embed, -1, 1, out), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(source->read_rows(embed, 0, -1, out), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(source->read_rows(embed, 1, INT64_MAX, out), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(source->read_rows(embed, INT64_MAX, 1, out), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(source->read_rows(*source->find("ids"), 0, 1, out), kUnsupported);
}

TEST("safetensors: hostile header lengths") {
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{3}, kMaxSafetensorsHeaderBytes + 1,
                                UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 63}) {
    Bytes file;
    append_value(file, length);
    append(file, "{}");
    CHECK_THROWS_CODE(open_bytes(file), kFormat);
  }
  CHECK_THROWS_CODE(open_bytes({}), kFormat);
  CHECK_THROWS_CODE(open_bytes(Bytes(8)), kFormat);
  CHECK_THROWS_CODE(open_header(" {}", 0), kFormat);
  CHECK_THROWS_CODE(open_header("[]", 0), kFormat);
  CHECK_THROWS_CODE(open_header("{}x", 0), kFormat);
}

TEST("safetensors: entries that are not what the format says") {
  for (const char* header :
       {R"({"t":1})",
        R"({"t":{}})",
        R"({"t":{"dtype":"F32","shape":[1]}})",
        R"({"t":{"dtype":"F32","data_offsets":[0,4]}})",
        R"({"t":{"shape":[1],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})",
        R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[9223372036854775807,0,9223372036854775807],"data_offsets":[0,4]}})",
        R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        R"({"__metadata__":{"a":1},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        R"({"__metadata__":[],"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
        R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
        R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"}) {
    CHECK_THROWS_CODE(open_header(header, 4), kFormat);
  }
  CHECK_THROWS_CODE(open_header(one_tensor("F4", "[1]", 0, 4), 4), kUnsupported);
  CHECK_THROWS_CODE(open_header(one_tensor("Q8_0", "[1]", 0, 4), 4), kUnsupported);
  CHECK_EQ(open_header(one_tensor("F32", "[1]", 0, 4), 4)->tensors().size(), size_t{1});
}

TEST("safetensors: data must be covered once, without gaps") {
  const auto two = [](uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return "{" + safetensors_entry("a", "F32", "[1]", a, b) + "," +
           safetensors_entry("b", "F32", "[1]", c, d) + "}";
  };
  CHECK_EQ(open_header(two(0, 4, 4, 8), 8)->tensors().size(), size_t{2});
  CHECK_EQ(open_header(two(4, 8, 0, 4), 8)->tensors().size(), size_t{2});
  CHECK_THROWS_CODE(open_header(two(0, 4, 0, 4), 8), kFormat);    // the same bytes
  CHECK_THROWS_CODE(open_header(two(0, 4, 2, 6), 6), kFormat);    // overlap
  CHECK_THROWS_CODE(open_header(two(0, 4, 8, 12), 12), kFormat);  // a hole
  CHECK_THROWS_CODE(open_header(two(4, 8, 8, 12), 12), kFormat);  // a hole at the start
  CHECK_THROWS_CODE(open_header(two(0, 4, 4, 8), 9), kFormat);    // bytes left over
}

TEST("safetensors: every truncation is refused") {
  const Bytes whole = small_safetensors();
  for (size_t length = 0; length < whole.size(); ++length) {
    CHECK_THROWS_CODE(open_bytes(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))),
                      kFormat);
  }
  CHECK(read_all(*open_bytes(whole)) > 0);
}

TEST("safetensors: a file that is cut short after it was opened gives an error on reading") {
  const TemporaryFolder folder;
  const std::string path = folder.write("model.safetensors", small_safetensors());
  const auto source = open_safetensors(path);
  CHECK(read_all(*source) > 0);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 94);
  float out[16];
  CHECK_THROWS_CODE(source->read_rows(*source->find("embed"), 0, 3, out), ErrorCode::kIo);
  CHECK_THROWS_CODE(source->read_rows(*source->find("proj"), 0, 2, out), ErrorCode::kIo);
}

TEST("safetensors: a folder with one file or with shards") {
  const TemporaryFolder folder;
  folder.write("single/model.safetensors", shard("only", 1));
  CHECK(rows_of(*open_safetensors((folder.path() / "single").string()), "only", 0, 1) ==
        std::vector<float>{1});

  folder.write("sharded/model-00001-of-00002.safetensors", shard("a", 2));
  folder.write("sharded/model-00002-of-00002.safetensors", shard("b", 3));
  folder.write("sharded/model.safetensors.index.json",
               R"({"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors",)"
               R"("b":"model-00002-of-00002.safetensors"}})");
  const auto source = open_safetensors((folder.path() / "sharded").string());
  CHECK_EQ(source->tensors().size(), size_t{2});
  CHECK(rows_of(*source, "a", 0, 1) == std::vector<float>{2});
  CHECK(rows_of(*source, "b", 0, 1) == std::vector<float>{3});

  std::filesystem::create_directory(folder.path() / "nothing");
  CHECK_THROWS_CODE(open_safetensors((folder.path() / "nothing").string()), ErrorCode::kIo);
  CHECK_THROWS_CODE(open_safetensors((folder.path() / "missing").string()), ErrorCode::kIo);
  CHECK_THROWS_CODE(open_safetensors(folder.path().string() + std::string("\0x", 2)), ErrorCode::kIo);
}

TEST("safetensors: indexes that are wrong or lead out of the folder") {
  const TemporaryFolder folder;
  folder.write("secret.safetensors", shard("a", 1));
  folder.write("m/one.safetensors", shard("a", 1));
  folder.write("m/again.safetensors", shard("a", 1));
  std::filesystem::create_directory(folder.path() / "m/folder.safetensors");
  const std::string model = (folder.path() / "m").string();
  const auto with_index = [&](const std::string& json) {
    folder.write("m/model.safetensors.index.json", json);
    return open_safetensors(model);
  };
  CHECK_EQ(with_index(R"({"weight_map":{"a":"one.safetensors"}})")->tensors().size(), size_t{1});
  for (const char* name :
       {"../secret.safetensors", "/etc/passwd", "..", ".", "", "sub/one.safetensors", "one.safetensors/",
        "..\\\\x.safetensors", "c:one.safetensors", "one\\u0000.safetensors", ".safetensors", "one.bin",
        "model.safetensors.index.json"}) {
    CHECK_THROWS_CODE(with_index(R"({"weight_map":{"a":")" + std::string(name) + "\"}}"), kFormat);
  }
  CHECK_THROWS_CODE(with_index(R"({"weight_map":{"a":"missing.safetensors"}})"), ErrorCode::kIo);
  CHECK_THROWS_CODE(with_index(R"({"weight_map":{"a":"folder.safetensors"}})"), ErrorCode::kIo);
  CHECK_THROWS_CODE(with_index(R"({"weight_map":{"a":7}})"), kFormat);
  CHECK_THROWS_CODE(with_index(R"({"weight_map":[]})"), kFormat);
  CHECK_THROWS_CODE(with_index(R"({})"), kFormat);
  CHECK_THROWS_CODE(with_index("{"), kFormat);
  CHECK_THROWS_CODE(with_index(R"({"weight_map":{"b":"one.safetensors"}})"), kFormat);  // not in that shard
  CHECK_THROWS_CODE(with_index(R"({"weight_map":{"a":"one.safetensors","b":"again.safetensors"}})"),
                    kFormat);  // a twice
}

TEST("safetensors: links stay in the folder or in the model's own cache") {
  const TemporaryFolder folder;
  folder.write("outside.safetensors", shard("a", 1));
  folder.write("m/real.safetensors", shard("a", 2));
  std::filesystem::create_symlink("real.safetensors", folder.path() / "m/model.safetensors");
  CHECK(rows_of(*open_safetensors((folder.path() / "m").string()), "a", 0, 1) == std::vector<float>{2});

  std::filesystem::create_directory(folder.path() / "out");
  std::filesystem::create_symlink("../outside.safetensors", folder.path() / "out/model.safetensors");
  CHECK_THROWS_CODE(open_safetensors((folder.path() / "out").string()), kFormat);
  // The user who names the link itself means what it leads to.
  CHECK(rows_of(*open_safetensors((folder.path() / "out/model.safetensors").string()), "a", 0, 1) ==
        std::vector<float>{1});

  folder.write("models--o--n/blobs/0123", shard("a", 4));
  std::filesystem::create_directories(folder.path() / "models--o--n/snapshots/abc/sub");
  std::filesystem::create_symlink("../../blobs/0123",
                                  folder.path() / "models--o--n/snapshots/abc/model.safetensors");
  std::filesystem::create_symlink("../../../blobs/0123",
                                  folder.path() / "models--o--n/snapshots/abc/sub/model.safetensors");
  CHECK(rows_of(*open_safetensors((folder.path() / "models--o--n/snapshots/abc").string()), "a", 0, 1) ==
        std::vector<float>{4});
  CHECK(rows_of(*open_safetensors((folder.path() / "models--o--n/snapshots/abc/sub").string()), "a", 0, 1) ==
        std::vector<float>{4});

  std::filesystem::create_directories(folder.path() / "models--o--n/snapshots/bad");
  std::filesystem::create_symlink("../../../outside.safetensors",
                                  folder.path() / "models--o--n/snapshots/bad/model.safetensors");
  CHECK_THROWS_CODE(open_safetensors((folder.path() / "models--o--n/snapshots/bad").string()), kFormat);

  std::filesystem::create_directory(folder.path() / "circle");
  folder.write("circle/model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors"}})");
  std::filesystem::create_symlink("two.safetensors", folder.path() / "circle/one.safetensors");
  std::filesystem::create_symlink("one.safetensors", folder.path() / "circle/two.safetensors");
  CHECK_THROWS_CODE(open_safetensors((folder.path() / "circle").string()), ErrorCode::kIo);
}
