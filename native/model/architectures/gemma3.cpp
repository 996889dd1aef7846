// Gemma 3, text (arXiv 2503.19786): norms before and after each block, norms on q and k, GeGLU, embeddings times
// sqrt(hidden), five layers with a sliding window and a RoPE of their own for each layer that sees everything.
#include <cmath>

#include "core/error.h"
#include "model/architectures/architecture.h"
#include "model/recorder.h"

namespace lowrank {
namespace {

constexpr int32_t kPattern = 6;  // every sixth layer sees everything
// What transformers takes where a key is absent.
constexpr int32_t kDefaultHeadDim = 256;
constexpr float kDefaultQueryScalar = 256;
constexpr int32_t kDefaultWindow = 4096;
// GGUF does not say how queries are scaled; llama.cpp tells the 27B model by its layers.
constexpr size_t kLayersOf27B = 62;

void read_windows(const ModelFile& file, ModelConfig& config) {
  const bool has_default = !file.is_gguf() && file.config()->find("sliding_window") == nullptr;
  const auto window = file.find_int("sliding_window", "attention.sliding_window", 1, 1 << 24);
  if (!window && !has_default)
    throw Error(ErrorCode::kModelFormat, "Expected a number of keys for the sliding window of a gemma3 model, received none.");
  const auto types = read_sliding_layers(file, config.layers.size());
  const int32_t pattern = file.find_int("sliding_window_pattern", "attention.sliding_window_pattern", 1, 1024).value_or(kPattern);
  // transformers writes this one and never reads it.
  const auto written = file.find_int("_sliding_window_pattern", "", 1, 1024);
  if (!types && written && *written != pattern)
    throw Error(ErrorCode::kModelUnsupported, "Expected layer_types or sliding_window_pattern beside _sliding_window_pattern.");
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = types ? (*types)[i] : (static_cast<int32_t>(i) + 1) % pattern != 0;
    config.layers[i] = sliding ? LayerConfig{window.value_or(kDefaultWindow), 1} : LayerConfig{0, 0};
  }
}

float read_attention_scale(const ModelFile& file, const ModelConfig& config) {
  if (!file.is_gguf()) return 1.0f / std::sqrt(file.find_float("query_pre_attn_scalar", "", 1e-3, 1e6).value_or(kDefaultQueryScalar));
  if (config.layers.size() == kLayersOf27B) return 1.0f / std::sqrt(static_cast<float>(config.hidden_size / config.heads));
  return config.attention_scale;
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config =
      read_decoder_config(file, {.head_dim = kDefaultHeadDim, .tied = true, .activation_key = "hidden_activation"});
  if (file.has("hidden_act") && file.find_string("hidden_act", "") != "gelu_pytorch_tanh")
    throw Error(ErrorCode::kModelUnsupported, "Expected gelu_pytorch_tanh for hidden_act, which a gemma3 model calls hidden_activation.");
  read_attention_biases(file, config);
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden_size));
  config.attention_scale = read_attention_scale(file, config);
  // llama.cpp's converter has added the 1 already.
  config.norm_gain_offset = 1;
  for (const LayerNorm norm : {LayerNorm::kAfterAttention, LayerNorm::kAfterFeedForward, LayerNorm::kQ, LayerNorm::kK})
    config.norms.set(norm);
  read_gemma_ropes(file, config);
  read_windows(file, config);
  return config;
}

}  // namespace

void gemma_from_attention(Recorder& layer) {
  layer.attend();
  layer.add_attention(LayerNorm::kAfterAttention);
  layer.project_gate_up(LayerNorm::kBeforeFeedForward);
  layer.add_feed_forward(LayerNorm::kAfterFeedForward);
}

extern const Architecture kGemma3 = {"gemma3_text", "gemma3", read_config, kGemmaLayer};

}  // namespace lowrank
