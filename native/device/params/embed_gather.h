// See ops/embed_gather.h.
#pragma once

#include "device/params/common.h"

namespace lowrank::device {

struct EmbeddingTerm {
  const float* a;  // [vocabulary, rank]
  const float* b;  // [hidden, rank]
  int32_t rank;
  float scale;
};

// A matrix with the transform that its weights went through the inverse of.
struct EmbeddingTable {
  Matrix matrix;
  InputTransform input;
};

struct EmbeddingRows {
  EmbeddingTable table;  // in place of the base's, where table.matrix.data is not null
  const EmbeddingTerm* terms;
  const float* output_gain;  // [hidden] or null
  int32_t term_count;
};

struct EmbedGatherParams {
  const int32_t* tokens;  // [rows]
  EmbeddingTable table;
  float* x;  // [rows, hidden]
  const EmbeddingRows* segments;
  const int32_t* segment_of_row;  // [rows] index into segments, or -1; null: there are no segments
  int32_t rows;
  float multiplier;
};

}  // namespace lowrank::device
