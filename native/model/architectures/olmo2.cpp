// OLMo 2 (arXiv 2501.00656): norms behind both blocks and none before them, and norms of q and of k over all heads together.
#include <optional>

#include "model/architectures/architecture.h"
#include "model/recorder.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.kv_heads_of_heads = true, .norm_epsilon = 1e-5f});
  read_attention_biases(file, config);
  read_rope(file, config);
  config.norms = {};
  for (const LayerNorm norm : {LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward, LayerNorm::kQ, LayerNorm::kK})
    config.norms.set(norm);
  config.joint_head_norms = true;
  return config;
}

void record_to_keys(Recorder& layer) {
  layer.project_qkv(std::nullopt);
  layer.rope_write_kv();
}

void record_from_attention(Recorder& layer) {
  layer.attend();
  layer.add_attention(LayerNorm::kAfterAttention);
  layer.project_gate_up(std::nullopt);
  layer.add_feed_forward(LayerNorm::kAfterFeedForward);
}

}  // namespace

extern const Architecture kOlmo2 = {"olmo2", "olmo2", read_config, {record_to_keys, record_from_attention}};

}  // namespace lowrank
