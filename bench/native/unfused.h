// The passes that an adapter takes where it is not fused: h = A x, t = B h, y += t.
#pragma once

#include <cstdint>

#include "ops/op_table.h"

namespace lowrank::bench {

// h = A x by the engine's product for bfloat16 weights. Rows are split over the parts, since A has few columns to split.
struct ShrinkAloneArgs {
  Op<MatmulExpandArgs> op;
  MatmulExpandArgs product;
};
void shrink_alone(const ShrinkAloneArgs& args, int part, int parts);

// t[m, n] = sum_r h[m, r] * B[r, n], in float32. The engine has no such op; its product would pad the rank to 64.
// columns is a multiple of 16. Rows are split over the parts, columns where there is one row.
struct ExpandAloneArgs {
  const float* h;  // [M, h_stride], from this projection's first number on
  int32_t h_stride;
  const uint16_t* b;  // [rank, columns] bfloat16
  int32_t rank;
  int32_t columns;
  int32_t rows;  // M
  float* t;      // [M, t_stride], from this projection's first column on
  int32_t t_stride;
};
constexpr int kMaxProjections = 3;
struct ExpandsAloneArgs {
  ExpandAloneArgs projections[kMaxProjections];
  int32_t count;
};
void expands_alone(const ExpandsAloneArgs& args, int part, int parts);

// y[i] += t[i]
struct AddArgs {
  const float* t;
  float* y;
  int64_t count;
};
void add(const AddArgs& args, int part, int parts);

}  // namespace lowrank::bench
