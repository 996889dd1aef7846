// The hyperparameters of a decoder, read from config.json or GGUF key-values by the architecture's own file.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "ops/quantize_shrink.h"

namespace lowrank {

// One kind of rotary embedding; models with sliding windows have two.
struct RopeConfig {
  std::vector<float> frequencies;  // [head_dim / 2], radians per position
  float theta = 0;                 // the base, before any scaling
  float attention_factor = 1;
};

struct LayerConfig {
  int32_t window = 0;  // keys a row sees, itself included; 0: all
  int32_t rope = 0;    // index into ModelConfig::ropes
};

// A norm of a layer and what files call it.
struct NormName {
  LayerNorm norm;
  const char* safetensors;  // after "model.layers.{i}."
  const char* gguf;         // after "blk.{i}."
};

// What a projection's bias is to a model.
enum class BiasRule : uint8_t {
  kNone,         // the architecture has none
  kRequired,     // in every layer
  kOptional,     // in every layer or in none
  kSwitchedOff,  // the configuration says that there is none: one in the file is left out, with a warning
};

// The norms around a block: before it, and (Gemma) after it, before the residual.
struct BlockNorms {
  LayerNorm before;
  std::optional<LayerNorm> after;
};

struct ModelConfig {
  std::string architecture;
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t vocabulary_size = 0;
  int32_t trained_context = 0;  // max_position_embeddings
  float norm_epsilon = 1e-6f;
  float norm_gain_offset = 0;  // Gemma keeps gain - 1 in its checkpoints
  Activation activation = Activation::kSilu;
  float attention_scale = 0;  // of q . k
  float embedding_multiplier = 1;
  bool tied_embeddings = false;  // as the configuration has it; find_model_tensors() compares it with the file
  std::vector<LayerConfig> layers;
  std::vector<RopeConfig> ropes;
  std::vector<NormName> norms;
  std::array<BiasRule, kProjections> biases{};
  BlockNorms attention_norms{LayerNorm::kInput, std::nullopt};
  BlockNorms feed_forward_norms{LayerNorm::kPostAttention, std::nullopt};
};

}  // namespace lowrank
