// Qwen2 and Qwen2.5: Llama with biases on q, k and v (arXiv 2407.10671). Biases are read wherever a file has them.
#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

ModelConfig read_config(const ModelFile& file) {
  ModelConfig config = read_decoder_config(file);
  const char* rope = file.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  config.ropes = {read_rope(file, config.head_dim, rope, 10000)};
  if (file.find_bool("use_sliding_window", "").value_or(false))
    throw Error(ErrorCode::kModelUnsupported, "Expected use_sliding_window false: Qwen's optional windows are not supported.");
  return config;
}

}  // namespace

const Architecture kQwen2 = {"qwen2", "qwen2", read_config};

}  // namespace lowrank
