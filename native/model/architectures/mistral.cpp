// Mistral 7B and its kin: Llama with a sliding window on every layer where the checkpoint has one (arXiv 2310.06825).
// GGUF files of it say "llama", have the rows of q and k as those of Llama, and carry no window.
#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr int32_t kDefaultWindow = 4096;

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file, {});
  interleave_gguf_heads(config);
  read_rope(file, config);
  // Null: none. Absent: transformers' default.
  const bool absent = file.config()->find("sliding_window") == nullptr;
  const int32_t window = file.find_int("sliding_window", "", 1, 1 << 24).value_or(absent ? kDefaultWindow : 0);
  for (LayerConfig& layer : config.layers) layer.window = window;
  // transformers takes the window alone for the mask, and layer_types for the cache.
  const auto sliding = read_sliding_layers(file, config.layers.size());
  if (sliding && *sliding != std::vector<bool>(config.layers.size(), window > 0))
    throw Error(ErrorCode::kModelUnsupported,
                "Expected layer_types that agree with sliding_window: a mistral model has one window for all layers, or none.");
  return config;
}

}  // namespace

extern const Architecture kMistral = {"mistral", "llama", read_config, kLlamaLayer};

}  // namespace lowrank
