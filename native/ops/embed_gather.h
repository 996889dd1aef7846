// x[m, :] = multiplier * (W[token[m], :] + sum_r h[r] * B[:, r]),   h[r] = scale * A[r, token[m]]
//
// The embedding lookup, with LoRA on the embedding (PEFT's lora_embedding_A [rank, vocabulary] and
// lora_embedding_B [hidden, rank]). W is the same packed matrix that lm_head multiplies where embeddings are tied.
#pragma once

#include "ops/types.h"

namespace lowrank {

// LoRA or a replaced table for a run of rows. `a` is packed as [vocabulary, rank]: a gather, not a product.
struct EmbeddingTerm {
  const float* a;  // [vocabulary, rank] float32, the transpose of lora_embedding_A
  const float* b;  // [hidden, rank] float32
  int32_t rank;
  float scale;
};
struct EmbeddingRows {
  int32_t row_begin;
  int32_t row_end;
  const EmbeddingTerm* terms;
  int32_t term_count;
  const Matrix* table;       // in place of the base's table, or null
  const float* output_gain;  // [hidden] or null; see AdapterRows::output_gain
};

struct EmbedGatherArgs {
  const int32_t* tokens;  // [M], each in [0, table->rows)
  int32_t rows;           // M
  const Matrix* table;    // [vocabulary, hidden]
  float multiplier;       // Gemma: sqrt(hidden), rounded as the checkpoint's dtype has it; else 1
  float* x;               // [M, hidden] float32
  const EmbeddingRows* segments;
  int32_t segment_count;
};

}  // namespace lowrank
