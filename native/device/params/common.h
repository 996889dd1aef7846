// What the parameters of device ops are written in: ops/types.h as seen by a kernel. Every pointer is a device address. All
// of it is plain data with one layout for the addon and the plugin, which two compilers build.
#pragma once

#include <cstdint>

#include "ops/types.h"

namespace lowrank::device {

// A [rank, in] lies as [rank][ceil64(in)], B [out, rank] as [out][factor_b_stride(rank)]; padding is zero. So each row begins
// at a multiple of 16 bytes.
struct Factor {
  const void* data;
  int32_t rank;
  int32_t dimension;  // in for A, out for B
  LoraDType dtype;
};
inline constexpr int32_t factor_b_stride(int32_t rank) { return round_up(rank, 16); }

struct ShrinkTerm {
  Factor a;
  const float* rank_scale;  // [rank], or null: 1
  int32_t h_offset;
  float scale;
};

struct ExpandTerm {
  Factor b;
  int32_t h_offset;
  int32_t n_begin;
};

struct AdapterRows {
  int32_t row_begin;
  int32_t row_end;
  const ShrinkTerm* shrink;
  const ExpandTerm* expand;
  int32_t shrink_count;
  int32_t expand_count;
  const float* output_gain;  // null pointers: as the base has it
  const float* bias;
  const float* norm_gain;
};

// Rows and their count are data that a step brings, not parameters of a launch: a step with other adapters is the same
// launch.
struct AdapterSegments {
  const AdapterRows* rows;        // [*count] ascending, disjoint
  const int32_t* count;           // null: there are no segments, and there will be none in this launch
  const int32_t* segment_of_row;  // [M] index into rows, or -1
  float* h;                       // [M, h_stride] float32
  int32_t h_stride;
};

// Where the keys and values of each row's sequence lie.
struct BlockTables {
  const int32_t* positions;  // [M] absolute
  const int32_t* first;      // [M] where the row's table begins among `pages`
  const int32_t* pages;      // a row's: [position / kPageTokens + 1], in order of position
};

// The scale groups that kernels know.
inline constexpr int32_t kScaleGroup = 128;
inline constexpr int32_t scale_groups(int32_t cols) { return lowrank::scale_groups(cols, kScaleGroup); }

// int8:     data [ceil16(rows)][stride] int8; scale of int8 input [ceil16(rows)][scale_groups(cols)] bfloat16, of float
//           input [ceil16(rows)] float32.
// bfloat16, float32: data [ceil16(rows)][stride].
// stride = ceil64(cols). Padding is zero, but for K's padding of a rotated matrix, whose last block is rotated as a whole.
struct Matrix {
  const void* data;
  const void* scale;
  const uint16_t* outlier_columns;  // [rows][kMaxOutliers] bfloat16, zero beyond outlier_count; null where there are none
  int32_t rows;
  int32_t cols;
  int32_t stride;
  int32_t outlier_count;
  WeightFormat format;
  ActivationFormat activation;
};

struct InputTransform {
  const float* smoothing;   // [ceil64(cols)] or null
  const int32_t* outliers;  // [outlier_count], ascending
  int32_t outlier_count;
  int32_t rotated;
};

// See lowrank::Activations; `compensation` is the CPU's alone.
struct Activations {
  int8_t* q;
  float* scale;
  float* outliers;
  float* values;
  int32_t cols;
  int32_t stride;
  ActivationFormat format;
};

}  // namespace lowrank::device
