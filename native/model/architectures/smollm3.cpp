// SmolLM3: Llama with layers that have no RoPE (arXiv 2501.18795), every fourth one as a rule. They alone may have a window.
#include <string>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

// What transformers takes where a key is absent. GGUF files say nothing of it; llama.cpp takes every fourth layer, too.
constexpr int32_t kDefaultInterval = 4;
constexpr double kDefaultTheta = 2000000;

void read_layers(const ModelFile& file, ModelConfig& config) {
  const auto rotated = file.find_ints("no_rope_layers");  // 0: without, in spite of the key's name
  if (rotated && rotated->size() < config.layers.size())
    throw Error(ErrorCode::kModelFormat, "Expected an entry for each of the " + std::to_string(config.layers.size()) +
                                             " layers in no_rope_layers, received " + std::to_string(rotated->size()) + ".");
  const int32_t interval = file.find_int("no_rope_layer_interval", "", 1, 1 << 20).value_or(kDefaultInterval);
  const bool used = file.find_bool("use_sliding_window", "").value_or(false);
  const auto window = file.find_int("sliding_window", "", 1, 1 << 24);
  const auto types = read_sliding_layers(file, config.layers.size());
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool rotates = rotated ? (*rotated)[i] != 0 : (static_cast<int32_t>(i) + 1) % interval != 0;
    if (!rotates) config.layers[i].rope = kNoRope;
    const bool sliding = types ? (*types)[i] : used && window && !rotates;
    if (!sliding) continue;
    if (!used || !window)
      throw Error(ErrorCode::kModelFormat,
                  "Expected use_sliding_window and sliding_window where layer_types has sliding_attention, received none.");
    config.layers[i].window = *window;
  }
}

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {.tied = true});
  read_llama_biases(file, config);
  interleave_gguf_heads(config);
  read_rope(file, config, {.theta = kDefaultTheta});
  read_layers(file, config);
  return config;
}

}  // namespace

extern const Architecture kSmolLm3 = {"smollm3", "smollm3", read_config, kLlamaLayer};

}  // namespace lowrank
