#include "model/model_file.h"

#include <cmath>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "formats/safetensors.h"

namespace lowrank {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::string_view kPrefix = "model.";

std::string name_of(const char* hf, const char* gguf, bool is_gguf) { return is_gguf ? gguf : hf; }

[[noreturn]] void out_of_bounds(const std::string& name, double min, double max, double received) {
  throw Error(ErrorCode::kModelFormat, "Expected a number from " + std::to_string(min) + " to " + std::to_string(max) +
                                           " for " + name + ", received " + std::to_string(received) + ".");
}

}  // namespace

ModelFile ModelFile::open(const std::string& path) {
  ModelFile file;
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) {
    auto gguf = GgufFile::open_model(path);
    file.gguf_ = gguf.get();
    file.tensors_ = std::move(gguf);
    const GgufValue* architecture = file.gguf_->find_value("general.architecture");
    if (architecture == nullptr) throw Error(ErrorCode::kModelFormat, "Expected general.architecture in " + path + ".");
    file.architecture_ = architecture->as_string("general.architecture");
    return file;
  }
  const auto config = open_file(path + "/config.json");
  if (config->size() > kMaxConfigBytes) throw Error(ErrorCode::kModelFormat, "Expected at most 1 MiB in config.json.");
  std::string text(config->size(), '\0');
  config->read(0, text.size(), text.data());
  file.config_ = Json::parse(text, ErrorCode::kModelFormat, "config.json");
  const Json* type = file.config_->find("model_type");
  if (type == nullptr) throw Error(ErrorCode::kModelFormat, "Expected model_type in config.json.");
  file.architecture_ = type->as_string("model_type");
  const Json* quantisation = file.config_->find("quantization_config");
  if (quantisation != nullptr && !quantisation->is_null())
    throw Error(ErrorCode::kModelUnsupported,
                "Expected weights that are not quantised yet: config.json has a quantization_config. Load the original "
                "checkpoint; it is quantised to int8 here.");
  file.tensors_ = open_safetensors(path);
  const std::string table = outer_path(Dialect::kHuggingFace, OuterModule::kEmbedTokens) + ".weight";
  const bool is_bare =
      file.tensors_->find(table) == nullptr && file.tensors_->find(table.substr(kPrefix.size())) != nullptr;
  file.has_prefix_ = !is_bare;
  return file;
}

const Json* ModelFile::json(const char* hf) const {
  if (!config_ || *hf == '\0') return nullptr;
  const Json* at = &*config_;
  std::string_view rest(hf);
  read_keys_.emplace(rest.substr(0, rest.find('.')));
  while (!rest.empty()) {
    const size_t dot = rest.find('.');
    at = at->find(rest.substr(0, dot));
    if (at == nullptr) return nullptr;
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  }
  return at;
}

const GgufValue* ModelFile::value(const char* gguf) const {
  if (gguf_ == nullptr || *gguf == '\0') return nullptr;
  const std::string key = architecture_ + "." + gguf;
  read_keys_.insert(key);
  return gguf_->find_value(key);
}

bool ModelFile::has(const char* hf) const {
  const Json* found = json(hf);
  return found != nullptr && !found->is_null();
}

std::optional<int32_t> ModelFile::find_int(const char* hf, const char* gguf, int32_t min, int32_t max) const {
  return find_layer_int(hf, gguf, min, max, 0);
}

std::optional<int32_t> ModelFile::find_layer_int(const char* hf, const char* gguf, int32_t min, int32_t max,
                                                 int32_t layers) const {
  const std::string name = name_of(hf, gguf, is_gguf());
  int64_t number = 0;
  if (has(hf)) {
    number = json(hf)->as_int64(name);
  } else if (const GgufValue* found = value(gguf)) {
    if (found->is_array() && layers > 0) {
      if (found->size() != static_cast<size_t>(layers))
        throw Error(ErrorCode::kModelFormat, "Expected an entry for each of the " + std::to_string(layers) + " layers in " + name +
                                                 ", received " + std::to_string(found->size()) + ".");
      number = found->int64_at(0, name);
      for (size_t i = 1; i < found->size(); ++i)
        if (found->int64_at(i, name) != number)
          throw Error(ErrorCode::kModelUnsupported, "Expected one value for all layers in " + name + ".");
    } else {
      number = found->as_int64(name);
    }
  } else {
    return std::nullopt;
  }
  if (number < min || number > max) out_of_bounds(name, min, max, static_cast<double>(number));
  return static_cast<int32_t>(number);
}

int32_t ModelFile::get_int(const char* hf, const char* gguf, int32_t min, int32_t max) const {
  const auto found = find_int(hf, gguf, min, max);
  if (!found) throw Error(ErrorCode::kModelFormat, "Expected " + name_of(hf, gguf, is_gguf()) + " in the model's configuration.");
  return *found;
}

std::optional<float> ModelFile::find_float(const char* hf, const char* gguf, double min, double max) const {
  const std::string name = name_of(hf, gguf, is_gguf());
  double number = 0;
  if (const Json* found = json(hf))
    number = found->as_double(name);
  else if (const GgufValue* value_found = value(gguf))
    number = value_found->as_double(name);
  else
    return std::nullopt;
  if (!(number >= min && number <= max)) out_of_bounds(name, min, max, number);
  return static_cast<float>(number);
}

std::optional<bool> ModelFile::find_bool(const char* hf, const char* gguf) const {
  if (const Json* found = json(hf)) return found->as_bool(hf);
  if (const GgufValue* found = value(gguf)) return found->as_bool(gguf);
  return std::nullopt;
}

std::optional<std::string> ModelFile::find_string(const char* hf, const char* gguf) const {
  if (const Json* found = json(hf)) return found->as_string(hf);
  if (const GgufValue* found = value(gguf)) return std::string(found->as_string(gguf));
  return std::nullopt;
}

std::optional<std::vector<std::string>> ModelFile::find_strings(const char* hf) const {
  if (!has(hf)) return std::nullopt;
  std::vector<std::string> strings;
  for (const Json& item : json(hf)->items(hf)) strings.push_back(item.as_string(hf));
  return strings;
}

std::optional<std::vector<int64_t>> ModelFile::find_ints(const char* hf) const {
  if (!has(hf)) return std::nullopt;
  std::vector<int64_t> numbers;
  for (const Json& item : json(hf)->items(hf)) numbers.push_back(item.as_int64(hf));
  return numbers;
}

const Json* ModelFile::find_object(const char* hf) const {
  if (!has(hf)) return nullptr;
  const Json* found = json(hf);
  found->members(hf);  // throws for another kind
  return found;
}

std::string ModelFile::stored_name(const std::string& name) const {
  return has_prefix_ || !name.starts_with(kPrefix) ? name : name.substr(kPrefix.size());
}

const TensorInfo* ModelFile::claim(const std::string& name) const {
  const TensorInfo* found = tensors_->find(stored_name(name));
  if (found != nullptr) claimed_.insert(found);
  return found;
}

}  // namespace lowrank
