// A model on disk, a Hugging Face folder or a GGUF file, behind one face.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "formats/gguf.h"
#include "formats/tensor_source.h"

namespace lowrank {

class ModelFile {
 public:
  // `path`: a folder with config.json and safetensors, or a GGUF file. Throws Error(kModelFormat, kIo).
  static ModelFile open(const std::string& path);

  bool is_gguf() const { return gguf_ != nullptr; }
  const TensorSource& tensors() const { return *tensors_; }
  const GgufFile* gguf() const { return gguf_; }
  // "llama", "mistral", "qwen2", …: config.json's model_type or GGUF's general.architecture.
  const std::string& architecture() const { return architecture_; }

  // Hyperparameters. `hf` is a key of config.json, with dots for nesting; `gguf` a key after "<architecture>.". An empty
  // key means that this kind of file has none. Null counts as absent. Each throws Error(kModelFormat) for a value of
  // another type or out of bounds.
  std::optional<int32_t> find_int(const char* hf, const char* gguf, int32_t least, int32_t most) const;
  std::optional<float> find_float(const char* hf, const char* gguf, double least, double most) const;
  std::optional<bool> find_bool(const char* hf, const char* gguf) const;
  std::optional<std::string> find_string(const char* hf, const char* gguf) const;
  // An array of strings in config.json, or nothing.
  std::optional<std::vector<std::string>> find_strings(const char* hf) const;
  bool has(const char* hf) const;

  int32_t get_int(const char* hf, const char* gguf, int32_t least, int32_t most) const;

 private:
  ModelFile() = default;
  const Json* json(const char* hf) const;
  const GgufValue* value(const char* gguf) const;

  std::unique_ptr<TensorSource> tensors_;
  GgufFile* gguf_ = nullptr;  // tensors_ as what it is, where it is one
  std::optional<Json> config_;
  std::string architecture_;
};

}  // namespace lowrank
