// matmul_backward_input of ops/matmul_expand.h: dx = W^T dy on the tiles of the forward product.
//
// There, 16 rows of W lie side by side, and here the sum is over these rows. So a panel of kBackwardRows rows x 64 channels is unpacked
// into floats, channels side by side (16 KiB), and serves kGradientRows rows of dy, whose sums (16 KiB) lie beside it in the L1 cache:
// the unpacking is a tenth of the work. The product on it is a plain one, in tiles of registers.
//
// A dword of a tile holds 1, 2 or 4 neighbouring channels of one row, after the format, and the next 16 dwords the following channels.
#pragma once

#include <cstring>

#include "cpu/packing.h"
#include "cpu/simd/bfloat16_pairs.h"
#include "cpu/simd/rotation.h"
#include "ops/matmul_expand.h"

namespace lowrank::cpu {

template <class S>
class InputGradient {
 public:
  explicit InputGradient(const MatmulBackwardInputArgs& args) : args_(args), w_(static_cast<const PackedMatrix&>(*args.w)) {}

  // Channels [k, k + count) of one block of the rotation.
  void run(int32_t k, int32_t count) {
    for (int32_t m = args_.row_begin; m < args_.row_end; m += kGradientRows) {
      const int32_t rows = args_.row_end - m < kGradientRows ? args_.row_end - m : kGradientRows;
      std::memset(sums_, 0, sizeof sums_);
      for (int32_t n = 0; n < w_.rows; n += kBackwardRows) {
        const int32_t depth = w_.rows - n < kBackwardRows ? w_.rows - n : kBackwardRows;
        unpack_panel(n, depth, k);
        add_panel<kQueries>(dy_row(m) + n, rows, depth, sums_[0]);
      }
      for (int32_t i = 0; i < rows; ++i) finish(m + i, k, count, sums_[i]);
    }
  }

 private:
  using F = typename S::F32;
  static constexpr int32_t kGradientRows = 64;
  static constexpr int32_t kVectors = kRotationBlock / S::kLanes;
  // Of a tile in registers: rows of dy x vectors of channels.
  static constexpr int kQueries = S::kValueQueries;
  static constexpr int kTileVectors = S::kValueVectors;
  static_assert(kVectors % kTileVectors == 0);

  const float* dy_row(int32_t m) const { return args_.dy + static_cast<size_t>(m) * static_cast<size_t>(args_.dy_stride); }

  void unpack_panel(int32_t n, int32_t depth, int32_t k) {
    switch (w_.scheme.weights) {
      case WeightFormat::kInt8:
        return unpack_rows<uint8_t>(n, depth, k, [this, group = k / w_.scheme.group](int32_t row, const uint8_t* bytes, float* out) {
          const F scale = S::set1(scale_at(row, group));
          for (int i = 0; i < kRotationBlock; i += S::kLanes) {
            int8_t q[S::kLanes];
            for (int j = 0; j < S::kLanes; ++j) q[j] = static_cast<int8_t>(bytes[i + j] ^ 0x80);  // w + 128 in two's complement
            S::store(out + i, S::mul(S::load_int8(q), scale));
          }
        });
      case WeightFormat::kBFloat16:
        return unpack_rows<uint16_t>(n, depth, k, [](int32_t, const uint16_t* halves, float* out) {
          for (int i = 0; i < kRotationBlock; i += S::kLanes) S::store(out + i, S::load_bfloat16(halves + i));
        });
      case WeightFormat::kFloat32:
        return unpack_rows<float>(n, depth, k, [](int32_t, const float* values, float* out) {
          std::memcpy(out, values, kRotationBlock * sizeof(float));
        });
      default:  // a format without a way of its own
        for (int32_t i = 0; i < depth; ++i) held_block(w_, n + i, k, panel_[i]);
    }
  }

  // Calls widen(row, elements [64], out [64]) for rows [n, n + depth) of the panel; n is a multiple of 16.
  template <class Element, class Widen>
  LOWRANK_INLINE void unpack_rows(int32_t n, int32_t depth, int32_t k, Widen widen) {
    constexpr int32_t kDwords = static_cast<int32_t>(kRotationBlock * sizeof(Element) / sizeof(uint32_t));
    for (int32_t i = 0; i < depth; ++i) {
      const int32_t lane = i % kTileRows;
      const auto* dwords = reinterpret_cast<const uint8_t*>(tile_of_row<Element>(w_, n + i) + static_cast<size_t>(k) * kTileRows);
      alignas(64) Element elements[kRotationBlock];
      auto* const out = reinterpret_cast<uint8_t*>(elements);
      for (int32_t d = 0; d < kDwords; ++d) std::memcpy(out + 4 * d, dwords + 4 * (d * kTileRows + lane), 4);
      widen(n + i, elements, panel_[i]);
    }
  }

  float scale_at(int32_t row, int32_t group) const {
    if (w_.scheme.activations != ActivationFormat::kInt8) return w_.scale.template as<float>()[row];
    const auto groups = static_cast<size_t>(w_.groups());
    const size_t at = (static_cast<size_t>(row / kTileRows) * groups + static_cast<size_t>(group)) * kTileRows;
    const uint32_t bits = static_cast<uint32_t>(w_.scale.template as<uint16_t>()[at + static_cast<size_t>(row % kTileRows)]) << 16;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return scale;
  }

  // sums [rows][64] += dy [rows, depth] times the panel, in blocks of `Rows` rows, then of fewer.
  template <int Rows>
  LOWRANK_INLINE void add_panel(const float* dy, int32_t rows, int32_t depth, float* sums) const {
    const auto stride = static_cast<size_t>(args_.dy_stride);
    for (; rows >= Rows; rows -= Rows, dy += Rows * stride, sums += Rows * kRotationBlock)
      for (int v = 0; v < kVectors; v += kTileVectors) add_tile<Rows>(dy, depth, v * S::kLanes, sums);
    if constexpr (Rows > 1)
      if (rows > 0) add_panel<Rows - 1>(dy, rows, depth, sums);
  }

  template <int Rows>
  LOWRANK_INLINE void add_tile(const float* dy, int32_t depth, int channel, float* sums) const {
    const auto stride = static_cast<size_t>(args_.dy_stride);
    F acc[Rows][kTileVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) acc[r][v] = S::zero();
    for (int32_t n = 0; n < depth; ++n) {
      F weights[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) weights[v] = S::load(panel_[n] + channel + v * S::kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const F gradient = S::set1(dy[static_cast<size_t>(r) * stride + static_cast<size_t>(n)]);
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) acc[r][v] = S::fma(gradient, weights[v], acc[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        float* const at = sums + r * kRotationBlock + channel + v * S::kLanes;
        S::store(at, S::add(S::load(at), acc[r][v]));
      }
  }

  // Undoes the input transform on the sums of row m, and stores them.
  void finish(int32_t m, int32_t k, int32_t count, float* sums) const {
    const InputTransform& input = w_.input;
    float* const dx = args_.dx + static_cast<size_t>(m) * static_cast<size_t>(args_.dx_stride) + k;
    if (input.rotated) rotate_block<S>(sums);
    for (int32_t i = 0; i < count; i += S::kLanes) {
      const int width = count - i < S::kLanes ? count - i : S::kLanes;
      F value = S::load(sums + i);
      if (input.smoothing != nullptr) value = S::mul(value, S::load_first(input.smoothing + k + i, width));
      S::store_first(dx + i, value, width);
    }
    for (int32_t j = 0; j < input.outlier_count; ++j) {
      const int32_t channel = input.outliers[j];
      if (channel >= k && channel < k + count) dx[channel - k] = outlier_gradient(dy_row(m), j);
    }
  }

  // sum_n C[n, j] * dy[n]: lane by lane, then over the lanes. C's padding is 0.
  float outlier_gradient(const float* dy, int32_t j) const {
    const auto& columns = static_cast<const PackedFactor&>(*w_.outlier_columns);
    const auto* pairs = columns.data.template as<uint16_t>() + j / 2 * 2 * kTileRows;
    const size_t step = static_cast<size_t>(factor_b_ranks(columns)) * kTileRows;
    F total = S::zero();
    for (int32_t begin = 0; begin < w_.rows; begin += kBackwardRows) {
      const int32_t end = w_.rows - begin < kBackwardRows ? w_.rows : begin + kBackwardRows;
      F sum = S::zero();
      for (int32_t n = begin; n < end; n += kTileRows, pairs += step) {
        const auto pair = S::int_load(pairs);
        const F column = j % 2 == 0 ? first_of_pairs<S>(pair) : second_of_pairs<S>(pair);
        sum = S::fma(column, S::load_first(dy + n, end - n < kTileRows ? end - n : kTileRows), sum);
      }
      total = S::add(total, sum);
    }
    return S::reduce_add(total);
  }

  const MatmulBackwardInputArgs& args_;
  const PackedMatrix& w_;
  alignas(64) float panel_[kBackwardRows][kRotationBlock];  // [n, k]
  alignas(64) float sums_[kGradientRows][kRotationBlock];   // [m, k]
};

template <class S>
void backward_input(const MatmulBackwardInputArgs& args, int part, int parts) {
  InputGradient<S> gradient(args);
  const Range channels = split(args.w->cols, kRotationBlock, part, parts);
  for (int32_t k = channels.begin; k < channels.end; k += kRotationBlock)
    gradient.run(k, args.w->cols - k < kRotationBlock ? args.w->cols - k : kRotationBlock);
}

}  // namespace lowrank::cpu
