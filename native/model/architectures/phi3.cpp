// Phi-3 and its kin (arXiv 2404.14219): Llama whose files keep q|k|v and gate|up as one matrix each, with a window on all layers or none,
// and RoPE with other frequencies for long contexts (LongRoPE, arXiv 2402.13753).
#include <string>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

// What transformers takes where a key is absent.
constexpr int32_t kDefaultOriginalContext = 4096;

// transformers knows no other scaling of these models, and no context that is null.
void check_rope(const ModelFile& file) {
  constexpr const char* kOriginal = "original_max_position_embeddings";
  if (const Json* original = file.config()->find(kOriginal); original != nullptr && original->is_null())
    throw Error(ErrorCode::kModelFormat, std::string("Expected a number of positions for ") + kOriginal + ", received null.");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Json* settings = file.find_object(key);
    if (settings == nullptr) continue;
    for (const char* type_key : {"rope_type", "type"})
      if (const Json* type = settings->find(type_key))
        if (const std::string text = type->as_string(type_key); text != "default" && text != "longrope")
          throw Error(ErrorCode::kModelUnsupported,
                      "Expected default or longrope for the RoPE type of a phi3 model, received " + quote_text(text) + ".");
  }
}

// llama.cpp keeps both kinds of factors as tensors, and one attention factor.
void read_gguf_factors(const ModelFile& file, ModelConfig& config) {
  RopeConfig& rope = config.ropes[0];
  rope.attention_factor = file.find_float("", "rope.scaling.attn_factor", 1e-3, 1e3).value_or(1.0f);
  rope.short_context = file.find_int("", "rope.scaling.original_context_length", 1, 1 << 24).value_or(config.trained_context);
  constexpr const char* kLong = "rope_factors_long.weight";
  constexpr const char* kShort = "rope_factors_short.weight";
  if (file.has_tensor(kLong) != file.has_tensor(kShort))
    throw Error(ErrorCode::kModelFormat, std::string("Expected both ") + kLong + " and " + kShort + ", received one of them.");
  if (!file.has_tensor(kLong)) return;
  RopeConfig longer = rope;
  divide_frequencies(rope, file, kShort);
  divide_frequencies(longer, file, kLong);
  rope.long_frequencies = longer.frequencies;
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.kv_heads_of_heads = true, .norm_epsilon = 1e-5f});
  fuse_projections(config, Site::kQkv);
  fuse_projections(config, Site::kGateUp);
  if (!file.is_gguf()) check_rope(file);
  read_rope(file, config, {.original_context = kDefaultOriginalContext});
  if (file.is_gguf()) read_gguf_factors(file, config);
  // llama.cpp ignores the window; transformers has it. 0 in GGUF: none.
  const int32_t window = file.find_int("sliding_window", "attention.sliding_window", file.is_gguf() ? 0 : 1, 1 << 24).value_or(0);
  for (LayerConfig& layer : config.layers) layer.window = window;
  return config;
}

}  // namespace

extern const Architecture kPhi3 = {"phi3", "phi3", read_config, kLlamaLayer};

}  // namespace lowrank
