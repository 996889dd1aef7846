#include <algorithm>
#include <cmath>

#include "core/float16.h"
#include "cpu/packing.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

// One block of a tile of weights, unpacked: [kSumBlock][16], as int32 for int8 input and as float32 for float
// input.
template <class Number>
using Block = Number[kSumBlock][kTileRows];

template <class Number, class Packed, class Unpack>
void unpack_block(const PackedMatrix& w, int32_t tile_row, int32_t k_begin, Block<Number>& block,
                  Unpack unpack) {
  const Packed* tile = tile_of_row<Packed>(w, tile_row);
  const int32_t depth = tile_depth(w.format);
  for (int32_t k = 0; k < kSumBlock; ++k)
    for (int32_t lane = 0; lane < kTileRows; ++lane)
      block[k][lane] = unpack(tile[tile_offset(depth, lane, k_begin + k)]);
}

template <class Number>
void load_block(const PackedMatrix& w, int32_t tile_row, int32_t k_begin, Block<Number>& block) {
  switch (w.format) {
    case WeightFormat::kInt8:
      return unpack_block<Number, uint8_t>(w, tile_row, k_begin, block,
                                           [](uint8_t packed) { return static_cast<Number>(packed - 128); });
    case WeightFormat::kBFloat16:
      return unpack_block<Number, uint16_t>(w, tile_row, k_begin, block, [](uint16_t packed) {
        return static_cast<Number>(bfloat16_to_float32(packed));
      });
    case WeightFormat::kFloat32:
      return unpack_block<Number, float>(w, tile_row, k_begin, block,
                                         [](float packed) { return static_cast<Number>(packed); });
  }
}

// Rows of x that share one unpacking of the weights. Each row's sums are its own: sharing changes no result.
constexpr int32_t kRowsAtOnce = 8;

// Calls add(m, k, partial) for `rows` rows of x [rows, stride] and each block of K, from k on: partial[lane] = the sum over
// the block of x[m, k] * w[tile_row + lane, k]. K's padding adds zeros.
template <class Number, class Input, class Add>
void tile_products(const PackedMatrix& w, int32_t tile_row, const Input* x, int32_t stride, int32_t rows, Add add) {
  Block<Number> block;
  for (int32_t begin = 0; begin < w.padded_cols(); begin += kSumBlock) {
    load_block(w, tile_row, begin, block);
    for (int32_t m = 0; m < rows; ++m) {
      const Input* x_block =
          x + static_cast<size_t>(m) * static_cast<size_t>(stride) + static_cast<size_t>(begin);
      Number partial[kTileRows] = {};
      for (int32_t k = 0; k < kSumBlock; ++k)
        for (int32_t lane = 0; lane < kTileRows; ++lane)
          partial[lane] += static_cast<Number>(x_block[k]) * block[k][lane];
      add(m, begin, partial);
    }
  }
}

float factor_b(const PackedFactor& b, int32_t n, int32_t r) {
  return factor_element(b, factor_b_offset(b, n, r));
}

// sum over the terms of sum_r h[r] * B[n, r]
float expand(const AdapterRows& segment, const float* h, int32_t n) {
  float sum = 0.0f;
  for (int32_t t = 0; t < segment.expand_count; ++t) {
    const ExpandTerm& term = segment.expand[t];
    const auto& b = static_cast<const PackedFactor&>(*term.b);
    if (n < term.n_begin || n >= term.n_begin + b.dimension) continue;
    for (int32_t r = 0; r < b.rank; ++r)
      sum += h[term.h_offset + r] * factor_b(b, n - term.n_begin, r);
  }
  return sum;
}

// sum over the outlier channels of o[j] * C[n, j]
float outlier_part(const MatmulExpandArgs& args, int32_t m, int32_t n) {
  const auto& columns = static_cast<const PackedFactor&>(*args.w->outlier_columns);
  const float* outliers = args.x.outliers + static_cast<size_t>(m) * kMaxOutliers;
  float sum = 0.0f;
  for (int32_t j = 0; j < columns.rank; ++j)
    sum += outliers[j] * factor_b(columns, n, j);
  return sum;
}

// y[m, n] from the int8 or float product of W and x
void store(const MatmulExpandArgs& args, int32_t m, int32_t n, float wx) {
  const AdapterRows* segment = segment_of(args.adapters.rows, args.adapters.count, m);
  const float* bias = args.bias;
  float y = wx;
  if (args.w->outlier_columns != nullptr) y += outlier_part(args, m, n);
  if (segment != nullptr) {
    y += expand(*segment,
                args.adapters.h + static_cast<size_t>(m) * static_cast<size_t>(args.adapters.h_stride), n);
    if (segment->output_gain != nullptr) y *= segment->output_gain[n];
    if (segment->bias != nullptr) bias = segment->bias;
  }
  if (bias != nullptr) y += bias[n];
  const size_t index = static_cast<size_t>(m) * static_cast<size_t>(args.y_stride) + static_cast<size_t>(n);
  if (args.residual != nullptr) y += args.residual[index];
  args.y[index] = args.soft_cap == 0.0f ? y : args.soft_cap * std::tanh(y / args.soft_cap);
}

// Adds a group's int32 sum to the product, once its last block is in: the sums of blocks are exact.
class GroupedSum {
 public:
  void add(int32_t partial, bool ends_group, float scale) {
    sum_ += partial;
    if (!ends_group) return;
    product_ += scale * static_cast<float>(sum_);
    sum_ = 0;
  }
  float product() const { return product_; }

 private:
  int32_t sum_ = 0;
  float product_ = 0.0f;
};

// Rows [m_begin, m_end) of one tile of columns.
void int8_tile(const MatmulExpandArgs& args, int32_t n_begin, int32_t m_begin, int32_t m_end) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  static_assert(kScaleGroup % kSumBlock == 0);
  GroupedSum sums[kRowsAtOnce][kTileRows];
  const auto x = args.x.q + static_cast<size_t>(m_begin) * static_cast<size_t>(args.x.stride);
  const auto add = [&](int32_t m, int32_t k, const int32_t (&partial)[kTileRows]) {
    const int32_t next = k + kSumBlock;
    const bool ends_group = next % kScaleGroup == 0 || next == w.padded_cols();
    const float x_scale = args.x.scale[int64_t{m_begin + m} * w.groups() + k / kScaleGroup];
    for (int32_t lane = 0; lane < kTileRows; ++lane)
      sums[m][lane].add(partial[lane], ends_group, x_scale * scale_of(w, n_begin + lane, k));
  };
  tile_products<int32_t>(w, n_begin, x, args.x.stride, m_end - m_begin, add);
  for (int32_t m = m_begin; m < m_end; ++m)
    for (int32_t n = n_begin; n < std::min(n_begin + kTileRows, w.rows); ++n)
      store(args, m, n, sums[m - m_begin][n - n_begin].product());
}

void float_tile(const MatmulExpandArgs& args, int32_t n_begin, int32_t m_begin, int32_t m_end) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  float sums[kRowsAtOnce][kTileRows] = {};
  const auto x = args.x.values + static_cast<size_t>(m_begin) * static_cast<size_t>(args.x.stride);
  const auto add = [&](int32_t m, int32_t, const float (&partial)[kTileRows]) {
    for (int32_t lane = 0; lane < kTileRows; ++lane)
      sums[m][lane] += partial[lane];
  };
  tile_products<float>(w, n_begin, x, args.x.stride, m_end - m_begin, add);
  for (int32_t m = m_begin; m < m_end; ++m)
    for (int32_t n = n_begin; n < std::min(n_begin + kTileRows, w.rows); ++n) {
      const float sum = sums[m - m_begin][n - n_begin];
      store(args, m, n, w.format == WeightFormat::kInt8 ? sum * w.scale.as<float>()[n] : sum);
    }
}

}  // namespace

void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  const Range columns = split(args.w->rows, kTileRows, part, parts);
  for (int32_t n = columns.begin; n < columns.end; n += kTileRows)
    for (int32_t m = args.row_begin; m < args.row_end; m += kRowsAtOnce) {
      const int32_t end = std::min(m + kRowsAtOnce, args.row_end);
      if (args.x.format == ActivationFormat::kInt8)
        int8_tile(args, n, m, end);
      else
        float_tile(args, n, m, end);
    }
}

}  // namespace lowrank::cpu::reference
