// The hyperparameters of a decoder, read from config.json or GGUF key-values by the architecture's own file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "decoder/anatomy.h"
#include "decoder/names.h"
#include "decoder/row_order.h"
#include "ops/quantize_shrink.h"

namespace lowrank {

class Recorder;

// One kind of rotary embedding; models with sliding windows have two.
struct RopeConfig {
  std::vector<float> frequencies;  // [head_dim / 2], radians per position
  float theta = 0;                 // the base, before any scaling
  float attention_factor = 1;
  // longrope: the frequencies of an engine whose context is longer than `short_context`; or empty.
  std::vector<float> long_frequencies = {};
  int32_t short_context = 0;

  const std::vector<float>& frequencies_for(int32_t context_length) const {
    return long_frequencies.empty() || context_length <= short_context ? frequencies : long_frequencies;
  }
};

inline constexpr int32_t kNoRope = -1;

struct LayerConfig {
  int32_t window = 0;  // keys a row sees, itself included; 0: all
  int32_t rope = 0;    // index into ModelConfig::ropes, or kNoRope
};

// What a projection's bias is to a model.
enum class BiasRule : uint8_t {
  kNone,         // the architecture has none
  kRequired,     // in every layer
  kOptional,     // in every layer or in none
  kSwitchedOff,  // the configuration says that there is none: one in the file is left out, with a warning
};

// Where a model's file has the rows of a projection: in a tensor of its own, or in one that several share.
struct ProjectionTensor {
  ModuleName module;        // its weight is "<path>.weight", its bias "<path>.bias"
  int32_t first_row = 0;
  int32_t tensor_rows = 0;  // of the whole tensor
};

// How the architecture's layer is recorded, in two halves, so that a block of rows can go from one layer's attention to the next one's
// keys without waiting for the others: attention alone reads what other rows wrote.
struct LayerHalves {
  void (*to_keys)(Recorder&);         // from x to q, and to k and v in the cache
  void (*from_attention)(Recorder&);  // from q to x behind the layer
};

struct ModelConfig : DecoderShape {
  std::string architecture;       // as the file names it
  std::string gguf_architecture;  // as llama.cpp names it, in files of models and of adapters
  LayerHalves layer{};
  int32_t trained_context = 0;  // max_position_embeddings
  float norm_epsilon = 1e-6f;
  float norm_gain_offset = 0;  // Gemma keeps gain - 1 in its checkpoints
  Activation activation = Activation::kSilu;
  float attention_scale = 0;     // of q . k
  float attention_soft_cap = 0;  // of a score, above 0; or 0: none
  float embedding_multiplier = 1;
  float residual_multiplier = 1;  // of what a block adds to x
  float logits_multiplier = 1;    // part of the final norm's gain
  float logits_soft_cap = 0;      // above 0; or 0: none
  bool tied_embeddings = false;  // as the configuration has it; find_model_tensors() compares it with the file
  std::vector<LayerConfig> layers;  // [layer_count]
  std::vector<RopeConfig> ropes;
  std::array<BiasRule, kProjections> biases{};
  std::array<ProjectionTensor, kProjections> tensors;
  // The order of rows in GGUF files, of models and of adapters; Hugging Face's is plain.
  std::array<RowOrder, kProjections> gguf_row_order{};
};

}  // namespace lowrank
