// What every op contract is written in. Ops know no model, no adapter registry and no cache: they take pointers,
// shapes and row descriptors. An op is `void op(const Args&, int part, int parts)`: the `parts` threads of a step
// each call it with their own `part`, and a barrier follows. Ops throw nothing and allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/scheme.h"

namespace lowrank {

template <class Args>
using Op = void (*)(const Args&, int part, int parts);

// How the low-rank factors A and B are held.
enum class LoraDType : uint8_t {
  kBFloat16,
  kFloat32,
  kInt8,  // integers from -127 to 127; their scales lie in ShrinkTerm::rank_scale
};
inline constexpr size_t element_bytes(LoraDType dtype) {
  return dtype == LoraDType::kInt8 ? 1 : dtype == LoraDType::kBFloat16 ? 2 : 4;
}

struct LoraFactor;

inline constexpr int32_t kMaxOutliers = 64;

// What an int8 product's input goes through before it is quantised: the outlier channels are taken out and kept in
// float32, the others are smoothed (SmoothQuant, arXiv 2211.10438) and rotated. The weights went through the inverse when
// they were packed.
struct InputTransform {
  const float* smoothing = nullptr;   // [cols rounded up to 64] factors of the input, or null
  bool rotated = false;
  int32_t outlier_count = 0;          // at most kMaxOutliers
  const int32_t* outliers = nullptr;  // [outlier_count] input channels, ascending
};

// A packed weight matrix [rows, cols] = [out, in]. The layout behind it belongs to the backend that packed it.
struct Matrix {
  int32_t rows = 0;
  int32_t cols = 0;
  QuantScheme scheme;
  // int8 activations only, as the scheme says. Logical weights and inputs stay as they are.
  InputTransform input;
  // B [rows, outlier_count]: the columns of the outlier channels, in bfloat16; null where there are none.
  const LoraFactor* outlier_columns = nullptr;
  size_t bytes = 0;  // memory held, for accounting
  virtual ~Matrix() = default;
};

// One low-rank factor, packed by the backend: A [rank, in] for the shrink or B [out, rank] for the expand.
struct LoraFactor {
  int32_t rank = 0;
  int32_t dimension = 0;  // in for A, out for B
  size_t bytes = 0;
  virtual ~LoraFactor() = default;
};

// h[m, h_offset + r] = scale * rank_scale[r] * sum_k x[m, k] * A[r, k], x being the float input before quantisation.
struct ShrinkTerm {
  const LoraFactor* a;
  int32_t h_offset;
  float scale;  // the module's scaling times the request's scale
  const float* rank_scale = nullptr;  // [rank] of int8 factors: the scale of A's row times that of B's column; null: 1
};

// y[m, n_begin + n] += sum_r h[m, h_offset + r] * B[n, r].
struct ExpandTerm {
  const LoraFactor* b;
  int32_t h_offset;
  int32_t n_begin;
};

// A run of consecutive rows of the batch that use the same adapters at the same scales, at one place of the model.
// Rows without an adapter are in no segment and pay nothing. Null pointers mean: as the base has it.
struct AdapterRows {
  int32_t row_begin;
  int32_t row_end;
  const ShrinkTerm* shrink;
  int32_t shrink_count;
  const ExpandTerm* expand;
  int32_t expand_count;
  const float* output_gain;  // [N] DoRA: y = output_gain * (W x + B h) + bias
  const float* bias;         // [N] in place of the base's bias
  const float* norm_gain;    // [K] in place of the base's norm gain
};

struct AdapterSegments {
  const AdapterRows* rows = nullptr;  // ascending, disjoint
  int32_t count = 0;
  float* h = nullptr;     // [M, h_stride] float32, written by the shrink, read by the expand
  int32_t h_stride = 0;
};

// The input of a matrix product, as a quantise op leaves it. Which part is filled follows `format`.
struct Activations {
  ActivationFormat format = ActivationFormat::kFloat32;
  int32_t cols = 0;
  int32_t stride = 0;      // cols rounded up to a multiple of 64; elements from cols on are zero (but where rotated)
  int8_t* q = nullptr;     // [M, stride]
  float* scale = nullptr;  // [M, groups()] x is about q * scale; absmax of the group / 127
  int32_t* compensation = nullptr;  // [M, groups()] -128 * sum of q over the group: the CPU's alone, whose weights are w + 128
  float* outliers = nullptr;  // [M, kMaxOutliers] the input's outlier channels, as they were
  float* values = nullptr; // [M, stride] float32
  int32_t group = kDefaultScaleGroup;  // channels that share a scale: as the matrix has it that this is multiplied by

  int32_t groups() const { return scale_groups(cols, group); }
};

inline constexpr int32_t kActivationAlignment = 64;
inline constexpr int32_t round_up(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Splits `count` items into `parts` runs of whole `grain`s; the first runs are the longer ones.
struct Range {
  int32_t begin;
  int32_t end;
};
inline Range split(int32_t count, int32_t grain, int part, int parts) {
  const int64_t grains = (int64_t{count} + grain - 1) / grain;
  const int64_t each = grains / parts;
  const int64_t rest = grains % parts;
  const int64_t begin = each * part + (part < rest ? part : rest);
  const int64_t end = begin + each + (part < rest ? 1 : 0);
  const auto clip = [&](int64_t grain_index) {
    const int64_t item = grain_index * grain;
    return static_cast<int32_t>(item < count ? item : count);
  };
  return {clip(begin), clip(end)};
}

}  // namespace lowrank
