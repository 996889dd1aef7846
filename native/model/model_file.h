// A model on disk, a Hugging Face folder or a GGUF file, behind one face. It keeps account of the keys and tensors that are asked
// for, so that what is left can be refused instead of ignored.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/json.h"
#include "decoder/names.h"
#include "formats/gguf.h"
#include "formats/tensor_source.h"

namespace lowrank {

class ModelFile {
 public:
  // `path`: a folder with config.json and safetensors, or a GGUF file (of several parts: the first). Throws Error(kModelFormat,
  // kModelUnsupported, kIo).
  static ModelFile open(const std::string& path);

  bool is_gguf() const { return gguf_ != nullptr; }
  const GgufFile* gguf() const { return gguf_; }
  Dialect dialect() const { return is_gguf() ? Dialect::kGguf : Dialect::kHuggingFace; }
  // Null for GGUF.
  const Json* config() const { return config_ ? &*config_ : nullptr; }
  // "llama", "mistral", "qwen2", …: config.json's model_type or GGUF's general.architecture.
  const std::string& architecture() const { return architecture_; }

  // Hyperparameters. `hf` is a key of config.json, with dots for nesting; `gguf` a key after "<architecture>.". An empty
  // key means that this kind of file has none. Each throws Error(kModelFormat) for a value of another type or out of bounds.
  // For an integer, null counts as absent; elsewhere it is a value of another type.
  std::optional<int32_t> find_int(const char* hf, const char* gguf, int32_t min, int32_t max) const;
  // The same of what GGUF may give for each layer: an array of `layers` equal entries counts as that number.
  std::optional<int32_t> find_layer_int(const char* hf, const char* gguf, int32_t min, int32_t max, int32_t layers) const;
  std::optional<float> find_float(const char* hf, const char* gguf, double min, double max) const;
  std::optional<bool> find_bool(const char* hf, const char* gguf) const;
  std::optional<std::string> find_string(const char* hf, const char* gguf) const;
  // An array of strings in config.json; nothing where it is absent or null.
  std::optional<std::vector<std::string>> find_strings(const char* hf) const;
  // An array of integers in config.json, likewise.
  std::optional<std::vector<int64_t>> find_ints(const char* hf) const;
  // An object in config.json; null where it is absent or null.
  const Json* find_object(const char* hf) const;
  // True for a key of config.json with a value that is not null.
  bool has(const char* hf) const;

  int32_t get_int(const char* hf, const char* gguf, int32_t min, int32_t max) const;

  // Counts a key of config.json as read: the architecture is the same whatever it says.
  void ignore(const char* hf) const { read_keys_.insert(hf); }
  // True where a key of config.json's top level, or a GGUF key with its prefix, has been asked for by one of the above.
  bool was_read(const std::string& key) const { return read_keys_.contains(key); }

  // The tensors, by the name in this kind of file: of safetensors as AutoModelForCausalLM saves them ("model.…", "lm_head.…"),
  // also where the base model was saved alone, without its prefix.
  const TensorSource& tensors() const { return *tensors_; }
  // Null where there is none. What is claimed will be used, or is known to mean nothing.
  const TensorInfo* claim(const std::string& name) const;
  bool has_tensor(const std::string& name) const { return tensors_->find(stored_name(name)) != nullptr; }
  bool was_claimed(const TensorInfo& tensor) const { return claimed_.contains(&tensor); }
  // What the file calls the tensor.
  std::string stored_name(const std::string& name) const;

 private:
  ModelFile() = default;
  const Json* json(const char* hf) const;
  const GgufValue* value(const char* gguf) const;

  std::unique_ptr<TensorSource> tensors_;
  GgufFile* gguf_ = nullptr;  // tensors_ as what it is, where it is one
  std::optional<Json> config_;
  std::string architecture_;
  bool has_prefix_ = true;  // of safetensors: "model."
  mutable std::set<std::string> read_keys_;
  mutable std::set<const TensorInfo*> claimed_;
};

}  // namespace lowrank
