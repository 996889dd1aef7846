#include "model/architectures/architecture.h"

#include <string>

#include "core/error.h"

namespace lowrank {
namespace {
const Architecture* const kAll[] = {&kLlama, &kMistral, &kQwen2, &kQwen3, &kGemma3};
}

const Architecture& find_architecture(const ModelFile& file) {
  std::string names;
  for (const Architecture* one : kAll) {
    if (file.architecture() == (file.is_gguf() ? one->gguf_architecture : one->model_type)) return *one;
    names += (names.empty() ? "" : ", ") + std::string(one->model_type);
  }
  throw Error(ErrorCode::kModelUnsupported,
              "Expected one of " + names + " for the model's architecture, received " + quote_text(file.architecture()) + ".");
}

}  // namespace lowrank
