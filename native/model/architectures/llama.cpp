// Llama 2 and 3, SmolLM2 and everything else that calls itself "llama" (arXiv 2302.13971, 2407.21783).
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file);
  const char* rope = file.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  config.ropes = {read_rope(file, config.head_dim, rope, 10000)};
  return config;
}

}  // namespace

const Architecture kLlama = {"llama", "llama", read_config};

}  // namespace lowrank
