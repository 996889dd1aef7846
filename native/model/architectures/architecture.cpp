#include "model/architectures/architecture.h"

#include <string>
#include <string_view>

#include "core/error.h"
#include "model/config_keys.h"

namespace lowrank {
namespace {

const Architecture* const kAll[] = {&kLlama, &kMistral, &kQwen2, &kQwen3, &kGemma3};

const Architecture& find_architecture(const ModelFile& file) {
  std::string names;
  for (const Architecture* one : kAll) {
    const std::string_view name = file.is_gguf() ? one->gguf_architecture : one->model_type;
    if (name.empty()) continue;
    if (file.architecture() == name) return *one;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorCode::kModelUnsupported,
              "Expected one of " + names + " for the model's architecture, received " + quote_text(file.architecture()) + ".");
}

}  // namespace

ModelConfig read_model_config(const ModelFile& file) {
  ModelConfig config = find_architecture(file).read_config(file);
  check_unread_keys(file);
  return config;
}

}  // namespace lowrank
