#include "model/packed_weights.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "engine/engine_case.h"
#include "formats/temporary_folder.h"
#include "model/model.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

std::unique_ptr<Model> load(const std::string& packed_path, const char* below = "tiny-models/llama") {
  WeightsOptions options;
  options.threads = 2;
  options.packed_path = [&] { return packed_path; };
  return Model::load(tiny_path(below), cpu_backend(), options);
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A file of its own, not over one that a model may compute with.
void write(const std::string& path, const std::string& bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TEST("model/packed weights: what was written comes back the same, transforms included") {
  for (const char* model : {"tiny-models/llama", "tiny-models/qwen2", "tiny-models/gemma3"}) {
    const TemporaryFolder folder;
    const std::string path = (folder.path() / "a.weights").string();
    const auto fresh = load("", model);
    CHECK(fresh->weights().packed == PackedState::kNone);
    const auto written = load(path, model);
    CHECK(written->weights().packed == PackedState::kWritten);
    const auto restored = load(path, model);
    CHECK(restored->weights().packed == PackedState::kRestored);
    CHECK_EQ(written->checksum(), fresh->checksum());
    CHECK_EQ(restored->checksum(), fresh->checksum());
    CHECK_EQ(restored->weights().bytes, fresh->weights().bytes);
    CHECK_EQ(restored->weights().parameters, fresh->weights().parameters);
    // Nothing but the file itself stays behind.
    CHECK_EQ(std::distance(std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), {}), std::ptrdiff_t{1});
  }
}

TEST("model/packed weights: the progress ends at all parameters, and an abort is an abort") {
  const TemporaryFolder folder;
  WeightsOptions options;
  const std::string path = (folder.path() / "a.weights").string();
  options.packed_path = [&] { return path; };
  int64_t last = 0, all = 0;
  options.progress = [&](int64_t done, int64_t total) { last = done, all = total; };
  for (int i = 0; i < 2; ++i) {
    last = all = 0;
    Model::load(tiny_path("tiny-models/llama"), cpu_backend(), options);
    CHECK(all > 0);
    CHECK_EQ(last, all);
  }
  options.progress = [](int64_t, int64_t) { throw Error(ErrorCode::kAborted, "stop"); };
  CHECK_THROWS_CODE(Model::load(tiny_path("tiny-models/llama"), cpu_backend(), options), ErrorCode::kAborted);
}

TEST("model/packed weights: a damaged file, or another model's, is replaced") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "a.weights").string();
  const auto fresh = load(path);
  const std::string whole = bytes_of(path);
  std::vector<std::string> damaged = {"", "x", whole.substr(0, 23), whole.substr(0, 100), whole.substr(0, whole.size() - 1)};
  // Header, index and data; what fills a page up is never read.
  for (const size_t at : {size_t{0}, size_t{8}, size_t{12}, size_t{16}, size_t{23}, size_t{24}, size_t{28}, size_t{32}, size_t{36},
                          size_t{40}, size_t{45}, size_t{60}, size_t{4096}, whole.size() / 8192 * 4096, whole.size() - 1}) {
    damaged.push_back(whole);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 0x41);
  }
  for (size_t i = 0; i < 2 * damaged.size(); ++i) {
    const std::string& bytes = damaged[i / 2];
    write(path, bytes);
    // One that nobody may write to is mapped.
    const auto readers = std::filesystem::perms::owner_read | std::filesystem::perms::group_read;
    if (i % 2 == 0) std::filesystem::permissions(path, readers);
    const auto model = load(path);
    CHECK(model->weights().packed == PackedState::kWritten);
    CHECK_EQ(model->checksum(), fresh->checksum());
    CHECK(bytes_of(path) == whole);
  }
  CHECK(load(path, "tiny-models/qwen2")->weights().packed == PackedState::kWritten);
  CHECK(load(path)->weights().packed == PackedState::kWritten);
}

TEST("model/packed weights: those of other formats are replaced, whatever differs") {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "a.weights").string();
  const auto loaded = [&](const auto& change) {
    WeightsOptions options;
    options.packed_path = [&] { return path; };
    options.schemes = weight_schemes(Precision::kInt8);
    change(*options.schemes);
    return Model::load(tiny_path("tiny-models/llama"), cpu_backend(), options);
  };
  const auto preset = [](WeightSchemes&) {};
  CHECK(loaded(preset)->weights().packed == PackedState::kWritten);
  std::set<uint64_t> checksums = {loaded(preset)->checksum()};
  const auto replaces = [&](const auto& change) {
    const auto written = loaded(change);
    CHECK(written->weights().packed == PackedState::kWritten);
    CHECK(checksums.insert(written->checksum()).second);
    const auto restored = loaded(change);
    CHECK(restored->weights().packed == PackedState::kRestored);
    CHECK_EQ(restored->checksum(), written->checksum());
  };
  for (const int32_t group : {64, 256})
    replaces([&](WeightSchemes& schemes) { for_each_scheme(schemes, [&](QuantScheme& scheme) { scheme.group = group; }); });
  replaces([](WeightSchemes& schemes) { schemes.lm_head.rotated = false; });
  replaces([](WeightSchemes& schemes) { schemes.lm_head.smoothed = false; });
  replaces([](WeightSchemes& schemes) { schemes.lm_head.outliers = 5; });
  // A format of its own for one place: the down projections in bfloat16, with float32 activations.
  replaces([](WeightSchemes& schemes) {
    schemes.sites[static_cast<size_t>(Site::kDown)] = {WeightFormat::kBFloat16, ActivationFormat::kFloat32};
  });
  CHECK(loaded(preset)->weights().packed == PackedState::kWritten);
}

TEST("model/packed weights: a place that cannot be written is no error") {
  const TemporaryFolder folder;
  write((folder.path() / "file").string(), "x");
  CHECK(load((folder.path() / "file").string() + "/a.weights")->weights().packed == PackedState::kNone);
  CHECK(load((folder.path() / "missing").string() + "/a.weights")->weights().packed == PackedState::kNone);
}

TEST("model/packed weights: the reference modes keep none") {
  const TemporaryFolder folder;
  WeightsOptions options;
  options.precision = Precision::kFloat32;
  const std::string path = (folder.path() / "a.weights").string();
  options.packed_path = [&] { return path; };
  CHECK(Model::load(tiny_path("tiny-models/llama"), cpu_backend(), options)->weights().packed == PackedState::kNone);
  CHECK(!std::filesystem::exists(path));
}
