// Qwen2 and Qwen2.5: Llama with biases on q, k and v, always (arXiv 2407.10671).
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {});
  for (const Projection projection : {Projection::kQ, Projection::kK, Projection::kV})
    config.biases[static_cast<size_t>(projection)] = BiasRule::kRequired;
  file.ignore("attention_bias");  // in transformers the biases above are there whatever it says
  read_rope(file, config);
  read_optional_windows(file, config);
  return config;
}

}  // namespace

extern const Architecture kQwen2 = {"qwen2", "qwen2", read_config, kLlamaLayer};

}  // namespace lowrank
