// What the lora layer sees of the base model: its sizes, and its weights as the engine holds them.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "decoder/anatomy.h"
#include "decoder/weights.h"

namespace lowrank {

// A view: valid as long as the weights.
struct BaseModel : DecoderShape {
  const DecoderWeights* weights = nullptr;
  const Backend* backend = nullptr;
  float norm_gain_offset = 0;   // Gemma stores gain - 1
  float logits_multiplier = 1;  // part of the final norm's gain
  LoraDType lora_dtype = LoraDType::kBFloat16;  // what A and B are to be held in
  int threads = 1;

  // The logical weights, out [row_count, in_features]. Valid as long as this.
  RowReader reader(int32_t layer, Projection projection) const;
  RowReader reader(const Matrix& matrix) const;
  // [out_features] or empty where the base has no bias.
  std::vector<float> bias(int32_t layer, Projection projection) const;
};

}  // namespace lowrank
