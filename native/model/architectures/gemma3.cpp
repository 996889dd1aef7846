// Gemma 3, text (arXiv 2503.19786): norms before and after each block, norms on q and k, GeGLU, embeddings times
// sqrt(hidden), five layers with a sliding window and a RoPE of their own for each layer that sees everything.
#include <cmath>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr float kLocalTheta = 10000;
constexpr int32_t kPattern = 6;  // every sixth layer sees everything

void read_windows(const ModelFile& file, ModelConfig& config) {
  const int32_t window = file.find_int("sliding_window", "attention.sliding_window", 1, 1 << 24).value_or(0);
  const auto types = file.find_strings("layer_types");
  if (types && types->size() != config.layers.size())
    throw Error(ErrorCode::kModelFormat, "Expected one entry for each layer in layer_types.");
  const int32_t pattern = file.find_int("sliding_window_pattern", "attention.sliding_window_pattern", 1, 1024)
                              .value_or(file.find_int("_sliding_window_pattern", "", 1, 1024).value_or(kPattern));
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = types ? (*types)[i] == "sliding_attention" : (static_cast<int32_t>(i) + 1) % pattern != 0;
    config.layers[i] = sliding ? LayerConfig{window, 1} : LayerConfig{0, 0};
  }
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file);
  const auto activation = file.find_string("hidden_activation", "");
  if (activation && *activation != "gelu_pytorch_tanh")
    throw Error(ErrorCode::kModelUnsupported,
                "Expected gelu_pytorch_tanh for hidden_activation, received " + quote_text(*activation) + ".");
  config.activation = Activation::kGeluTanh;
  for (const char* key : {"final_logit_softcapping", "attn_logit_softcapping"})
    if (file.has(key)) throw Error(ErrorCode::kModelUnsupported, std::string("Expected null for ") + key + ".");
  if (file.find_bool("use_bidirectional_attention", "").value_or(false))
    throw Error(ErrorCode::kModelUnsupported, "Expected use_bidirectional_attention false: this is a decoder.");
  config.tied_embeddings = file.find_bool("tie_word_embeddings", "").value_or(true);
  config.embedding_multiplier = std::sqrt(static_cast<float>(config.hidden_size));
  const auto query_scalar = file.find_float("query_pre_attn_scalar", "", 1e-3, 1e6);
  if (query_scalar) config.attention_scale = 1.0f / std::sqrt(*query_scalar);
  // llama.cpp's converter has added the 1 already.
  config.norm_gain_offset = 1;
  config.norms = {{LayerNorm::kInput, "input_layernorm.weight", "attn_norm.weight"},
                  {LayerNorm::kPostAttention, "post_attention_layernorm.weight", "post_attention_norm.weight"},
                  {LayerNorm::kPreFeedForward, "pre_feedforward_layernorm.weight", "ffn_norm.weight"},
                  {LayerNorm::kPostFeedForward, "post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
                  {LayerNorm::kQ, "self_attn.q_norm.weight", "attn_q_norm.weight"},
                  {LayerNorm::kK, "self_attn.k_norm.weight", "attn_k_norm.weight"}};
  config.attention_norms = {LayerNorm::kInput, LayerNorm::kPostAttention};
  config.feed_forward_norms = {LayerNorm::kPreFeedForward, LayerNorm::kPostFeedForward};
  if (file.has("rope_parameters")) {
    config.ropes = {read_rope(file, config.head_dim, "rope_parameters.full_attention", 1e6f),
                    read_rope(file, config.head_dim, "rope_parameters.sliding_attention", kLocalTheta)};
  } else {
    const float local = file.find_float("rope_local_base_freq", "", 1, 1e12).value_or(kLocalTheta);
    config.ropes = {read_rope(file, config.head_dim, "rope_scaling", 1e6f), plain_rope(config.head_dim, local, 1)};
  }
  read_windows(file, config);
  return config;
}

}  // namespace

const Architecture kGemma3 = {"gemma3_text", "gemma3", read_config};

}  // namespace lowrank
