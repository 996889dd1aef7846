// Qwen2 and Qwen2.5: Llama with biases on q, k and v, always (arXiv 2407.10671).
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {});
  for (const Projection projection : {Projection::kQ, Projection::kK, Projection::kV})
    config.biases[static_cast<size_t>(projection)] = BiasRule::kRequired;
  file.has("attention_bias");  // transformers has no such switch for it; the tensors above must be there
  read_rope(file, config);
  read_optional_windows(file, config);
  return config;
}

}  // namespace

const Architecture kQwen2 = {"qwen2", "qwen2", read_config};

}  // namespace lowrank
