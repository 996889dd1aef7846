#include <algorithm>
#include <cmath>

#include "cpu/packing.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

// One block of a tile of weights, unpacked: [kSumBlock][16], as int32 for int8 input and as float32 for float
// input.
template <class Number>
using Block = Number[kSumBlock][kTileRows];

// Integers of quantised weights, whose scales come later; weights of others.
template <class Number>
void load_block(const PackedMatrix& w, int32_t tile_row, int32_t k_begin, Block<Number>& block) {
  static_assert(kSumBlock == kRotationBlock);
  const auto load = [&](int32_t lane, const auto& held) {
    for (int32_t k = 0; k < kSumBlock; ++k) block[k][lane] = static_cast<Number>(held[k]);
  };
  for (int32_t lane = 0; lane < kTileRows; ++lane) {
    if (is_quantized(w.scheme.weights)) {
      int8_t held[kRotationBlock];
      held_integers(w, tile_row + lane, k_begin, held);
      load(lane, held);
    } else {
      float held[kRotationBlock];
      held_block(w, tile_row + lane, k_begin, held);
      load(lane, held);
    }
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
  static_assert(kMinScaleGroup % kSumBlock == 0);
  const int32_t group = w.scheme.group;
  GroupedSum sums[kRowsAtOnce][kTileRows];
  const auto x = args.x.q + static_cast<size_t>(m_begin) * static_cast<size_t>(args.x.stride);
  const auto add = [&](int32_t m, int32_t k, const int32_t (&partial)[kTileRows]) {
    const int32_t next = k + kSumBlock;
    const bool ends_group = next % group == 0 || next == w.padded_cols();
    const float x_scale = args.x.scale[int64_t{m_begin + m} * w.groups() + k / group];
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
      store(args, m, n, is_quantized(w.scheme.weights) ? sum * w.scale.as<float>()[n] : sum);
    }
}

template <void (&tile)(const MatmulExpandArgs&, int32_t n_begin, int32_t m_begin, int32_t m_end)>
void multiply(const MatmulExpandArgs& args, int part, int parts) {
  const Range columns = split(args.w->rows, kTileRows, part, parts);
  for (int32_t n = columns.begin; n < columns.end; n += kTileRows)
    for (int32_t m = args.row_begin; m < args.row_end; m += kRowsAtOnce)
      tile(args, n, m, std::min(m + kRowsAtOnce, args.row_end));
}

}  // namespace

MatmulKernels matmul_kernels() {
  MatmulKernels kernels;
  for (int i = 0; i < kWeightFormats; ++i) {
    const auto weights = static_cast<WeightFormat>(i);
    kernels.of(weights, ActivationFormat::kFloat32) = multiply<float_tile>;
    if (is_quantized(weights)) kernels.of(weights, ActivationFormat::kInt8) = multiply<int8_tile>;
  }
  return kernels;
}

void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  static const MatmulKernels kernels = matmul_kernels();
  kernels.find(args.w->scheme)(args, part, parts);
}

}  // namespace lowrank::cpu::reference
