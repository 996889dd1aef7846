#include "cpu/packing.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

// sum over the terms of sum_r h[r] * B[k, r], h[r] = scale * A[token, r]
float low_rank_part(const EmbeddingRows& segment, int32_t token, int32_t k) {
  float sum = 0.0f;
  for (int32_t t = 0; t < segment.term_count; ++t) {
    const EmbeddingTerm& term = segment.terms[t];
    const auto rank = static_cast<size_t>(term.rank);
    const float* a = term.a + static_cast<size_t>(token) * rank;  // [rank]
    const float* b = term.b + static_cast<size_t>(k) * rank;      // [rank]
    for (size_t r = 0; r < rank; ++r)
      sum += term.scale * a[r] * b[r];
  }
  return sum;
}

}  // namespace

void embed_gather(const EmbedGatherArgs& args, int part, int parts) {
  const int32_t hidden = args.table->cols;
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const int32_t token = args.tokens[m];
    const EmbeddingRows* segment = segment_of(args.segments, args.segment_count, m);
    const Matrix* table = segment != nullptr && segment->table != nullptr ? segment->table : args.table;
    const auto& packed = static_cast<const PackedMatrix&>(*table);
    float* x = args.x + static_cast<size_t>(m) * static_cast<size_t>(hidden);
    unpack_row(packed, token, x);
    for (int32_t k = 0; k < hidden; ++k) {
      float value = x[k];
      if (segment != nullptr) value += low_rank_part(*segment, token, k);
      if (segment != nullptr && segment->output_gain != nullptr) value *= segment->output_gain[k];
      x[k] = value * args.multiplier;
    }
  }
}

}  // namespace lowrank::cpu::reference
