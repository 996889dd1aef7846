// What the decoders of the Llama family share.
#include <cmath>
#include <string>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr int32_t kMaxWidth = 1 << 17;  // int32 sums of int8 products hold up to this many terms
constexpr float kTau = 6.283185307179586f;

[[noreturn]] void unsupported(const std::string& what) { throw Error(ErrorCode::kModelUnsupported, what); }

// Wavelength-dependent scaling of Llama 3.1 (its reference code, "apply_scaling").
void scale_llama3(RopeConfig& rope, float factor, float low_freq_factor, float high_freq_factor, float original_context) {
  const float low_wavelength = original_context / low_freq_factor;
  const float high_wavelength = original_context / high_freq_factor;
  for (float& frequency : rope.frequencies) {
    const float wavelength = kTau / frequency;
    if (wavelength < high_wavelength) continue;
    if (wavelength > low_wavelength) {
      frequency /= factor;
      continue;
    }
    const float smooth = (original_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
}

// llama.cpp keeps Llama 3's scaling as one divisor for each frequency.
void divide_by_factors(RopeConfig& rope, const ModelFile& file) {
  const TensorInfo* factors = file.tensors().find("rope_freqs.weight");
  if (factors == nullptr) return;
  if (factors->elements() != static_cast<int64_t>(rope.frequencies.size()))
    throw Error(ErrorCode::kModelFormat, "Expected head_dim / 2 elements in rope_freqs.weight.");
  std::vector<float> divisors(rope.frequencies.size());
  file.tensors().read_rows(*factors, 0, 1, divisors.data());
  for (size_t i = 0; i < divisors.size(); ++i) {
    if (!(divisors[i] > 0) || !std::isfinite(divisors[i]))
      throw Error(ErrorCode::kModelFormat, "Expected positive numbers in rope_freqs.weight.");
    rope.frequencies[i] /= divisors[i];
  }
}

}  // namespace

RopeConfig plain_rope(int32_t head_dim, float theta, float factor) {
  RopeConfig rope;
  for (int32_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    rope.frequencies.push_back(1.0f / static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent))) /
                               factor);
  }
  return rope;
}

RopeConfig read_rope(const ModelFile& file, int32_t head_dim, const char* key, float theta) {
  const std::string base(key);
  const auto at = [&](const char* name) { return base + "." + name; };
  if (const auto found = file.find_float(at("rope_theta").c_str(), "rope.freq_base", 1, 1e12)) {
    theta = *found;
  } else if (const auto legacy = file.find_float("rope_theta", "", 1, 1e12)) {
    theta = *legacy;
  }
  const auto partial = file.find_float((base + ".partial_rotary_factor").c_str(), "", 0, 1);
  const auto partial_legacy = file.find_float("partial_rotary_factor", "", 0, 1);
  if (partial.value_or(1) != 1 || partial_legacy.value_or(1) != 1)
    unsupported("Expected partial_rotary_factor 1: rotary embeddings of a part of the head are not supported.");
  const auto dimensions = file.find_int("", "rope.dimension_count", 1, kMaxWidth);
  if (dimensions && *dimensions != head_dim)
    unsupported("Expected rope.dimension_count to be the head's size: partial rotary embeddings are not supported.");

  std::string type = "default";
  if (const auto named = file.find_string(at("rope_type").c_str(), "rope.scaling.type")) {
    type = *named;
  } else if (const auto older = file.find_string(at("type").c_str(), "")) {
    type = *older;
  }
  const auto number = [&](const char* name, const char* gguf) {
    const auto value = file.find_float(at(name).c_str(), gguf, 1e-6, 1e9);
    if (!value) throw Error(ErrorCode::kModelFormat, "Expected " + at(name) + " for RoPE scaling of type " + type + ".");
    return *value;
  };
  if (type == "default" || type == "none") {
    RopeConfig rope = plain_rope(head_dim, theta, 1);
    if (file.is_gguf()) divide_by_factors(rope, file);
    return rope;
  }
  if (type == "linear") return plain_rope(head_dim, theta, number("factor", "rope.scaling.factor"));
  if (type == "llama3") {
    RopeConfig rope = plain_rope(head_dim, theta, 1);
    scale_llama3(rope, number("factor", ""), number("low_freq_factor", ""), number("high_freq_factor", ""),
                 number("original_max_position_embeddings", ""));
    return rope;
  }
  unsupported("Expected default, linear or llama3 for the RoPE scaling type, received " + quote_text(type) + ".");
}

ModelConfig read_decoder_config(const ModelFile& file) {
  ModelConfig config;
  config.architecture = file.architecture();
  config.hidden_size = file.get_int("hidden_size", "embedding_length", 1, kMaxWidth);
  config.intermediate_size = file.get_int("intermediate_size", "feed_forward_length", 1, kMaxWidth);
  config.heads = file.get_int("num_attention_heads", "attention.head_count", 1, 4096);
  config.kv_heads = file.find_int("num_key_value_heads", "attention.head_count_kv", 1, 4096).value_or(config.heads);
  const auto head_dim = file.find_int("head_dim", "attention.key_length", 2, kMaxHeadDim);
  if (!head_dim && config.hidden_size % config.heads != 0)
    throw Error(ErrorCode::kModelFormat, "Expected hidden_size to be a multiple of num_attention_heads where head_dim is absent.");
  config.head_dim = head_dim.value_or(config.hidden_size / config.heads);
  if (config.head_dim % 2 != 0 || config.head_dim < 2 || config.head_dim > kMaxHeadDim)
    unsupported("Expected an even head_dim from 2 to " + std::to_string(kMaxHeadDim) + ".");
  if (config.heads % config.kv_heads != 0)
    throw Error(ErrorCode::kModelFormat, "Expected num_attention_heads to be a multiple of num_key_value_heads.");
  if (int64_t{config.heads} * config.head_dim > kMaxWidth)
    unsupported("Expected num_attention_heads * head_dim of at most " + std::to_string(kMaxWidth) + ".");

  const int32_t layers = file.get_int("num_hidden_layers", "block_count", 1, 1024);
  config.layers.resize(static_cast<size_t>(layers));
  const char* table = file.is_gguf() ? "token_embd.weight" : "model.embed_tokens.weight";
  const TensorInfo* embeddings = file.tensors().find(table);
  if (embeddings == nullptr || embeddings->shape.size() != 2 || embeddings->shape[0] < 1 || embeddings->shape[0] > (1 << 24))
    throw Error(ErrorCode::kModelFormat, "Expected a matrix of [vocabulary, hidden] for the tensor " + std::string(table) + ".");
  config.vocabulary_size = static_cast<int32_t>(embeddings->shape[0]);
  const auto stated = file.find_int("vocab_size", "vocab_size", 1, 1 << 24);
  if (stated && *stated != config.vocabulary_size)
    throw Error(ErrorCode::kModelFormat, "Expected vocab_size to be the number of rows of " + std::string(table) + ", " +
                                             std::to_string(config.vocabulary_size) + ", received " + std::to_string(*stated) + ".");
  config.trained_context = file.get_int("max_position_embeddings", "context_length", 1, 1 << 24);
  config.norm_epsilon = file.find_float("rms_norm_eps", "attention.layer_norm_rms_epsilon", 0, 1).value_or(1e-6f);
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  const bool has_head = file.tensors().find(file.is_gguf() ? "output.weight" : "lm_head.weight") != nullptr;
  config.tied_embeddings = file.find_bool("tie_word_embeddings", "").value_or(!has_head);
  const auto activation = file.find_string("hidden_act", "");
  if (activation && *activation != "silu")
    unsupported("Expected silu for hidden_act, received " + quote_text(*activation) + ".");
  config.activation = Activation::kSilu;
  config.norms = {{LayerNorm::kInput, "input_layernorm.weight", "attn_norm.weight"},
                  {LayerNorm::kPostAttention, "post_attention_layernorm.weight", "ffn_norm.weight"}};
  return config;
}

}  // namespace lowrank
