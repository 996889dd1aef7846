// Qwen3, dense: norms on each head of q and k before RoPE, no biases (arXiv 2505.09388).
#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file);
  const char* rope = file.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  config.ropes = {read_rope(file, config.head_dim, rope, 10000)};
  if (file.find_bool("use_sliding_window", "").value_or(false))
    throw Error(ErrorCode::kModelUnsupported, "Expected use_sliding_window false: Qwen's optional windows are not supported.");
  config.norms.push_back({LayerNorm::kQ, "self_attn.q_norm.weight", "attn_q_norm.weight"});
  config.norms.push_back({LayerNorm::kK, "self_attn.k_norm.weight", "attn_k_norm.weight"});
  return config;
}

}  // namespace

const Architecture kQwen3 = {"qwen3", "qwen3", read_config};

}  // namespace lowrank
