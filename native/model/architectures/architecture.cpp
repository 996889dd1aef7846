#include "model/architectures/architecture.h"

#include <set>
#include <string>
#include <string_view>

#include "core/error.h"
#include "model/config_keys.h"

namespace lowrank {

// All of them.
#define LOWRANK_EACH_ARCHITECTURE(one) \
  one(kLlama)                          \
  one(kMistral)                        \
  one(kQwen2)                          \
  one(kQwen3)                          \
  one(kGemma3)                         \
  one(kOlmo2)                          \
  one(kSmolLm3)                        \
  one(kGranite)                        \
  one(kPhi3)                           \
  one(kGemma2)

#define LOWRANK_DECLARE(name) extern const Architecture name;
LOWRANK_EACH_ARCHITECTURE(LOWRANK_DECLARE)
#undef LOWRANK_DECLARE

namespace {

#define LOWRANK_POINTER(name) &name,
const Architecture* const kAll[] = {LOWRANK_EACH_ARCHITECTURE(LOWRANK_POINTER)};
#undef LOWRANK_POINTER

const Architecture& find_architecture(const ModelFile& file) {
  std::string names;
  std::set<std::string_view> named;
  for (const Architecture* one : kAll) {
    const std::string_view name = file.is_gguf() ? one->gguf_architecture : one->model_type;
    if (file.architecture() == name) return *one;
    if (named.insert(name).second) names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorCode::kModelUnsupported,
              "Expected one of " + names + " for the model's architecture, received " + quote_text(file.architecture()) + ".");
}

}  // namespace

ModelConfig read_model_config(const ModelFile& file) {
  const Architecture& architecture = find_architecture(file);
  ModelConfig config = architecture.read_config(file);
  config.gguf_architecture = architecture.gguf_architecture;
  config.layer = architecture.layer;
  check_unread_keys(file);
  return config;
}

}  // namespace lowrank
