// Llama 2 and 3, SmolLM2 and everything else that calls itself "llama" (arXiv 2302.13971, 2407.21783).
#include "core/error.h"
#include "model/architectures/architecture.h"
#include "model/recorder.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.kv_heads_of_heads = true});
  read_llama_biases(file, config);
  const auto sliding = read_sliding_layers(file, config.layers.size());
  if (sliding && *sliding != std::vector<bool>(config.layers.size(), false))
    throw Error(ErrorCode::kModelUnsupported, "Expected full_attention for all layer_types: a llama model has no windows.");
  interleave_gguf_heads(config);
  read_rope(file, config);
  if (file.is_gguf()) divide_frequencies(config.ropes[0], file, "rope_freqs.weight");  // Llama 3's scaling
  return config;
}

}  // namespace

void interleave_gguf_heads(ModelConfig& config) {
  for (const Projection projection : {Projection::kQ, Projection::kK})
    config.gguf_row_order[static_cast<size_t>(projection)] = RowOrder::kInterleavedHalves;
}

void llama_to_keys(Recorder& layer) {
  layer.project_qkv(LayerNorm::kBeforeAttention);
  layer.rope_write_kv();
}

void llama_from_attention(Recorder& layer) {
  layer.attend();
  layer.add_attention();
  layer.project_gate_up(LayerNorm::kBeforeFeedForward);
  layer.add_feed_forward();
}

extern const Architecture kLlama = {"llama", "llama", read_config, kLlamaLayer};

}  // namespace lowrank
