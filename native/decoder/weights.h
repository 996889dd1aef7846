// A decoder's weights, packed by a backend.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "backend/backend_vector.h"
#include "decoder/anatomy.h"
#include "ops/types.h"

namespace lowrank {

struct LayerWeights {
  std::array<std::unique_ptr<Matrix>, kSites> products;  // q|k|v, o, gate|up, down
  std::array<BackendVector, kSites> biases;              // [N] of the stacked product, or empty
  std::array<BackendVector, kLayerNorms> norms;          // gains, offset included; or empty

  const Matrix* product(Site site) const { return products[static_cast<size_t>(site)].get(); }
  const BackendVector& bias(Site site) const { return biases[static_cast<size_t>(site)]; }
  const BackendVector& norm(LayerNorm norm) const { return norms[static_cast<size_t>(norm)]; }
};

struct DecoderWeights {
  std::unique_ptr<Matrix> embed_tokens;    // [vocabulary, hidden]
  std::unique_ptr<Matrix> lm_head_matrix;  // null where tied
  const Matrix* lm_head = nullptr;         // lm_head_matrix, or embed_tokens
  BackendVector final_norm;                // gain, offset and the multiplier of logits included
  std::vector<LayerWeights> layers;
};

}  // namespace lowrank
