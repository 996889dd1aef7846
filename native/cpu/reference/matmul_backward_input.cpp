#include <algorithm>

#include "backend/matrix_rows.h"
#include "cpu/packing.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {
namespace {

// Rows of dy that share one unpacking of the weights. Each row's sums are its own: sharing changes no result.
constexpr int32_t kRowsAtOnce = 8;

const float* dy_row(const MatmulBackwardInputArgs& args, int32_t m) {
  return args.dy + static_cast<size_t>(m) * static_cast<size_t>(args.dy_stride);
}

// sum_n weight(n) * dy[n], in the order of the contract.
template <class Weight>
float sum_over_rows(int32_t rows, const float* dy, Weight weight) {
  float total = 0.0f;
  for (int32_t begin = 0; begin < rows; begin += kBackwardRows) {
    float sum = 0.0f;
    for (int32_t n = begin; n < std::min(begin + kBackwardRows, rows); ++n) sum += weight(n) * dy[n];
    total += sum;
  }
  return total;
}

// Rows [m_begin, m_end) of dx, channels [k, k + count) of one block of the rotation.
void block_gradient(const MatmulBackwardInputArgs& args, int32_t k, int32_t count, int32_t m_begin, int32_t m_end) {
  const auto& w = static_cast<const PackedMatrix&>(*args.w);
  float totals[kRowsAtOnce][kRotationBlock] = {};
  for (int32_t begin = 0; begin < w.rows; begin += kBackwardRows) {
    float sums[kRowsAtOnce][kRotationBlock] = {};
    for (int32_t n = begin; n < std::min(begin + kBackwardRows, w.rows); ++n) {
      float weights[kRotationBlock];
      held_block(w, n, k, weights);
      for (int32_t m = m_begin; m < m_end; ++m)
        for (int32_t i = 0; i < kRotationBlock; ++i) sums[m - m_begin][i] += weights[i] * dy_row(args, m)[n];
    }
    for (int32_t m = 0; m < m_end - m_begin; ++m)
      for (int32_t i = 0; i < kRotationBlock; ++i) totals[m][i] += sums[m][i];
  }
  for (int32_t m = m_begin; m < m_end; ++m) {
    float* const dx = args.dx + static_cast<size_t>(m) * static_cast<size_t>(args.dx_stride);
    float* const block = totals[m - m_begin];
    restore_block(w.input.rotated, w.input.smoothing == nullptr ? nullptr : w.input.smoothing + k, count, block);
    std::copy_n(block, count, dx + k);
    for (int32_t j = 0; j < w.input.outlier_count; ++j) {
      const int32_t channel = w.input.outliers[j];
      if (channel < k || channel >= k + count) continue;
      const auto& columns = static_cast<const PackedFactor&>(*w.outlier_columns);
      dx[channel] = sum_over_rows(w.rows, dy_row(args, m),
                                  [&](int32_t n) { return factor_element(columns, factor_b_offset(columns, n, j)); });
    }
  }
}

}  // namespace

void matmul_backward_input(const MatmulBackwardInputArgs& args, int part, int parts) {
  const Range channels = split(args.w->cols, kRotationBlock, part, parts);
  for (int32_t k = channels.begin; k < channels.end; k += kRotationBlock)
    for (int32_t m = args.row_begin; m < args.row_end; m += kRowsAtOnce)
      block_gradient(args, k, std::min(kRotationBlock, args.w->cols - k), m, std::min(m + kRowsAtOnce, args.row_end));
}

}  // namespace lowrank::cpu::reference
