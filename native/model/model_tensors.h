// Which tensor of a model's file is what. Every tensor of the file is used, a copy of one that is used, or known to mean nothing;
// any other is refused.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/model_file.h"

namespace lowrank {

// A run of a tensor's rows, or of a vector's elements.
struct TensorRows {
  const TensorInfo* tensor = nullptr;  // null: there is none
  int32_t first = 0;
  int32_t count = 0;
};

struct LayerTensors {
  std::array<TensorRows, kProjections> weights{};
  std::array<TensorRows, kProjections> biases{};
  std::array<const TensorInfo*, kLayerNorms> norms{};    // null: none
};

struct ModelTensors {
  const TensorInfo* embed_tokens = nullptr;  // [vocabulary, hidden]
  const TensorInfo* lm_head = nullptr;       // null: embed_tokens, or a copy of it
  const TensorInfo* final_norm = nullptr;
  std::vector<LayerTensors> layers;
  // Tensors that the configuration switches off, by name.
  std::vector<std::string> ignored;

  // Of all tensors that are used.
  int64_t elements() const;
};

// Finds all tensors by the configuration and checks their shapes. Where the embeddings are tied and the file has a head with other
// values, they are not (as in transformers): config.tied_embeddings says so afterwards. Where they are not tied and the head has the
// very bytes of the embedding, they stay two tables to whoever replaces one, an adapter, and are held once. Throws Error: kModelFormat for a tensor that is
// missing, of another shape, or left over.
ModelTensors find_model_tensors(const ModelFile& file, ModelConfig& config);

}  // namespace lowrank
