#include "formats/safetensors.h"

#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/json.h"
#include "formats/safetensors_header.h"

namespace lowrank {
namespace {

namespace fs = std::filesystem;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// Paths cross this interface as UTF-8, which std::filesystem calls u8string on every platform.
fs::path to_path(const std::string& utf8) { return fs::path(std::u8string(utf8.begin(), utf8.end())); }
std::string to_utf8(const fs::path& path) {
  const std::u8string text = path.u8string();
  return std::string(text.begin(), text.end());
}

class SafetensorsSource final : public TensorSource {
 public:
  SafetensorsSource(std::vector<TensorInfo> tensors, std::vector<std::shared_ptr<ByteSource>> files)
      : TensorSource(std::move(tensors), std::move(files)) {}
};

// `path` with every link followed. Throws where it does not exist, or where links lead in a circle.
fs::path resolve(const fs::path& path) {
  std::error_code error;
  fs::path resolved = fs::canonical(path, error);
  if (error) {
    throw Error(ErrorCode::kIo, "Expected a readable file for " + to_utf8(path) + ", received " +
                                    error.message() + ". Check the path and its permissions.");
  }
  return resolved;
}

// Where the Hugging Face cache keeps the contents that `folder`
// (models--owner--name/snapshots/<revision>[/…]) links to, if it is such a folder.
std::optional<fs::path> cache_blobs(const fs::path& folder) {
  for (fs::path inner = folder; inner.has_relative_path(); inner = inner.parent_path()) {
    const fs::path outer = inner.parent_path();
    if (outer.filename() == "snapshots") return outer.parent_path() / "blobs";
  }
  return std::nullopt;
}

// Opens file `name` of `folder` (both links followed already), refusing links that lead out of it.
std::shared_ptr<ByteSource> open_inside(const fs::path& folder, const std::string& name) {
  const fs::path target = resolve(folder / to_path(name));
  const std::optional<fs::path> blobs = cache_blobs(folder);
  if (target.parent_path() != folder && !(blobs && target.parent_path() == *blobs)) {
    throw Error(ErrorCode::kModelFormat, "Expected a file inside the folder for " + quote_text(name) +
                                             " of " + to_utf8(folder) + ", received a link to " +
                                             to_utf8(target) + ". Copy the file into the folder.");
  }
  return open_file(to_utf8(target));
}

void check_shard_name(const std::string& name, const std::string& index_name) {
  const bool plain = name.find_first_of("/\\:") == std::string::npos && name.find('\0') == std::string::npos;
  constexpr std::string_view kSuffix = ".safetensors";
  if (!plain || name.size() <= kSuffix.size() || name.size() > 255 || !name.ends_with(kSuffix)) {
    throw Error(ErrorCode::kModelFormat, "Expected plain file names ending in .safetensors for " +
                                             index_name + ", received " + quote_text(name) +
                                             ". Fetch the model again.");
  }
}

std::string read_text(const ByteSource& bytes) {
  if (bytes.size() > Json::kMaxBytes) {
    throw Error(ErrorCode::kModelFormat, "Expected at most " + std::to_string(Json::kMaxBytes) +
                                             " bytes for " + bytes.name() + ", received " +
                                             std::to_string(bytes.size()) + ". Fetch the model again.");
  }
  std::string text(static_cast<size_t>(bytes.size()), '\0');
  bytes.read(0, text.size(), text.data());
  return text;
}

std::unique_ptr<TensorSource> open_shards(const fs::path& folder) {
  const std::shared_ptr<ByteSource> index_file = open_inside(folder, kIndexFile);
  const Json index = Json::parse(read_text(*index_file), ErrorCode::kModelFormat, index_file->name());
  const Json* weight_map = index.find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    throw Error(ErrorCode::kModelFormat, "Expected an object \"weight_map\" for " + index_file->name() +
                                             ", received none. Fetch the model again.");
  }
  std::map<std::string, uint32_t> shards;  // name -> index in files
  for (const Json::Member& entry : weight_map->members()) {
    const std::string& shard = entry.value.as_string("weight_map of " + index_file->name());
    check_shard_name(shard, index_file->name());
    shards.emplace(shard, static_cast<uint32_t>(shards.size()));
    if (shards.size() > kMaxSafetensorsShards) {
      throw Error(ErrorCode::kModelFormat, "Expected at most " + std::to_string(kMaxSafetensorsShards) +
                                               " shards for " + index_file->name() +
                                               ", received more. Save the model in larger shards.");
    }
  }
  std::vector<std::shared_ptr<ByteSource>> files(shards.size());
  std::vector<TensorInfo> tensors;
  for (const auto& [name, file] : shards) {
    files[file] = open_inside(folder, name);
    std::vector<TensorInfo> of_shard = read_safetensors_header(*files[file], file);
    std::move(of_shard.begin(), of_shard.end(), std::back_inserter(tensors));
  }
  auto source = std::make_unique<SafetensorsSource>(std::move(tensors), std::move(files));
  for (const Json::Member& entry : weight_map->members()) {
    const TensorInfo* tensor = source->find(entry.key);
    if (tensor == nullptr || tensor->file != shards.at(entry.value.as_string())) {
      throw Error(ErrorCode::kModelFormat, "Expected tensor " + quote_text(entry.key) + " for shard " +
                                               quote_text(entry.value.as_string()) + " of " +
                                               to_utf8(folder) +
                                               ", received a file without it. Fetch the model again.");
    }
  }
  return source;
}

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(std::shared_ptr<ByteSource> bytes) {
  std::vector<TensorInfo> tensors = read_safetensors_header(*bytes, 0);
  std::vector<std::shared_ptr<ByteSource>> files;
  files.push_back(std::move(bytes));
  return std::make_unique<SafetensorsSource>(std::move(tensors), std::move(files));
}

std::unique_ptr<TensorSource> open_safetensors(const std::string& path) {
  std::error_code error;
  // A path with a NUL is open_file()'s to refuse: the file system would read it up to there.
  const bool is_folder = path.find('\0') == std::string::npos && fs::is_directory(to_path(path), error);
  if (!is_folder) return open_safetensors(open_file(path));
  const fs::path folder = resolve(to_path(path));
  if (fs::exists(folder / kSingleFile, error)) return open_safetensors(open_inside(folder, kSingleFile));
  if (fs::exists(folder / kIndexFile, error)) return open_shards(folder);
  throw Error(ErrorCode::kIo, std::string("Expected ") + kSingleFile + " or " + kIndexFile + " for folder " +
                                  path +
                                  ", received neither. Pass the folder of a model saved as safetensors.");
}

}  // namespace lowrank
