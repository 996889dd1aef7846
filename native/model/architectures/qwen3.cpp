// Qwen3, dense: norms on each head of q and k before RoPE (arXiv 2505.09388).
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr int32_t kDefaultHeadDim = 128;

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.head_dim = kDefaultHeadDim});
  read_attention_biases(file, config);
  read_rope(file, config);
  read_optional_windows(file, config);
  config.norms.set(LayerNorm::kQ);
  config.norms.set(LayerNorm::kK);
  return config;
}

}  // namespace

extern const Architecture kQwen3 = {"qwen3", "qwen3", read_config, kLlamaLayer};

}  // namespace lowrank
