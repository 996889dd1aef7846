// Granite 3, dense: Llama with multipliers of the embedding, of what each block adds, of the scores and of the logits
// (maximal update parametrization, arXiv 2203.03466).
#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr double kMin = 1e-6;
constexpr double kMax = 1e6;

// GGUF: absent, or 0, is as for Llama.
float read_attention_scale(const ModelFile& file, float usual) {
  const auto scale = file.find_float("attention_multiplier", "attention.scale", file.is_gguf() ? 0 : kMin, kMax);
  if (!file.is_gguf()) return scale.value_or(1.0f);
  return scale && *scale != 0 ? *scale : usual;
}

float read_logits_divisor(const ModelFile& file) {
  const auto divisor = file.find_float("logits_scaling", "logit_scale", kMin, kMax);
  if (!divisor && file.is_gguf())
    throw Error(ErrorCode::kModelFormat, "Expected logit_scale in the configuration of a granite model, it is missing.");
  return divisor.value_or(1.0f);
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.kv_heads_of_heads = true});
  read_llama_biases(file, config);
  interleave_gguf_heads(config);
  read_rope(file, config);
  // llama.cpp leaves RoPE out where this is false.
  if (!file.find_bool("", "rope.scaling.finetuned").value_or(true))
    throw Error(ErrorCode::kModelUnsupported, "Expected true for rope.scaling.finetuned: a granite model without RoPE is not supported.");
  config.embedding_multiplier = file.find_float("embedding_multiplier", "embedding_scale", kMin, kMax).value_or(1.0f);
  config.residual_multiplier = file.find_float("residual_multiplier", "residual_scale", kMin, kMax).value_or(1.0f);
  config.attention_scale = read_attention_scale(file, config.attention_scale);
  config.logits_multiplier = 1.0f / read_logits_divisor(file);
  return config;
}

}  // namespace

extern const Architecture kGranite = {"granite", "granite", read_config, kLlamaLayer};

}  // namespace lowrank
