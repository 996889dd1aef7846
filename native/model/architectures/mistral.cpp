// Mistral 7B and its kin: Llama with a sliding window on every layer where the checkpoint has one (arXiv 2310.06825).
// GGUF files of it say "llama" and carry no window.
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file);
  const char* rope = file.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  config.ropes = {read_rope(file, config.head_dim, rope, 10000)};
  const int32_t window = file.find_int("sliding_window", "", 1, 1 << 24).value_or(0);
  for (LayerConfig& layer : config.layers) layer.window = window;
  return config;
}

}  // namespace

const Architecture kMistral = {"mistral", "mistral", read_config};

}  // namespace lowrank
