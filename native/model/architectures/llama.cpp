// Llama 2 and 3, SmolLM2 and everything else that calls itself "llama" (arXiv 2302.13971, 2407.21783).
#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.kv_heads_of_heads = true});
  if (file.is_gguf()) {
    config.biases.fill(BiasRule::kOptional);
  } else {
    read_attention_biases(file, config);
    read_mlp_biases(file, config);
  }
  const auto sliding = read_sliding_layers(file, config.layers.size());
  if (sliding && *sliding != std::vector<bool>(config.layers.size(), false))
    throw Error(ErrorCode::kModelUnsupported, "Expected full_attention for all layer_types: a llama model has no windows.");
  read_rope(file, config);
  return config;
}

}  // namespace

const Architecture kLlama = {"llama", "llama", read_config};

}  // namespace lowrank
