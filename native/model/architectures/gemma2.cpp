// Gemma 2 (arXiv 2408.00118): norms before and after each block, GeGLU, embeddings times sqrt(hidden), soft caps of scores and of
// logits, and a sliding window in every other layer, the first one among them.
#include <cmath>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr int32_t kPattern = 2;  // every second layer sees everything
// What transformers takes where a key is absent.
constexpr int32_t kDefaultHeadDim = 256;
constexpr float kDefaultQueryScalar = 256;
constexpr int32_t kDefaultWindow = 4096;
constexpr float kDefaultScoreCap = 50;
constexpr float kDefaultLogitCap = 30;
// GGUF does not say how queries are scaled; llama.cpp tells the 27B model by its layers.
constexpr int32_t kLayersOf27B = 46;

bool is_absent(const ModelFile& file, const char* key) { return file.is_gguf() || file.config()->find(key) == nullptr; }

// Null: none.
float read_cap(const ModelFile& file, const char* key, float otherwise) {
  if (!is_absent(file, key) && !file.has(key)) {
    file.ignore(key);
    return 0;
  }
  return file.find_float(key, key, 1e-3, 1e6).value_or(otherwise);
}

void read_windows(const ModelFile& file, ModelConfig& config) {
  const auto window = file.find_int("sliding_window", "attention.sliding_window", 1, 1 << 24);
  if (!window && !is_absent(file, "sliding_window"))
    throw Error(ErrorCode::kModelFormat, "Expected a number of keys for the sliding window of a gemma2 model, received none.");
  const auto types = read_sliding_layers(file, config.layers.size());
  const int32_t pattern = file.find_int("", "attention.sliding_window_pattern", 1, 1024).value_or(kPattern);
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = types ? (*types)[i] : (static_cast<int32_t>(i) + 1) % pattern != 0;
    if (sliding) config.layers[i].window = window.value_or(kDefaultWindow);
  }
}

float read_attention_scale(const ModelFile& file, const ModelConfig& config) {
  if (!file.is_gguf()) return 1.0f / std::sqrt(file.find_float("query_pre_attn_scalar", "", 1e-3, 1e6).value_or(kDefaultQueryScalar));
  if (config.layer_count == kLayersOf27B) return 1.0f / std::sqrt(static_cast<float>(config.hidden_size / config.heads));
  return config.attention_scale;
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config =
      read_decoder_config(file, {.head_dim = kDefaultHeadDim, .tied = true, .activation_key = "hidden_activation"});
  if (file.has("hidden_act") && file.find_string("hidden_act", "") != "gelu_pytorch_tanh")
    throw Error(ErrorCode::kModelUnsupported, "Expected gelu_pytorch_tanh for hidden_act, which a gemma2 model calls hidden_activation.");
  read_attention_biases(file, config);
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden_size));
  config.attention_scale = read_attention_scale(file, config);
  config.attention_soft_cap = read_cap(file, "attn_logit_softcapping", kDefaultScoreCap);
  config.logits_soft_cap = read_cap(file, "final_logit_softcapping", kDefaultLogitCap);
  config.norm_gain_offset = 1;  // llama.cpp's converter has added it already
  config.norms.set(LayerNorm::kAfterAttention);
  config.norms.set(LayerNorm::kAfterFeedForward);
  read_rope(file, config);
  read_windows(file, config);
  return config;
}

}  // namespace

extern const Architecture kGemma2 = {"gemma2", "gemma2", read_config, kGemmaLayer};

}  // namespace lowrank
