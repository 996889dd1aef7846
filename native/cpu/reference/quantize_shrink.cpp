#include <algorithm>
#include <cmath>
#include <numeric>

#include "cpu/reference/ops.h"
#include "quant/int8.h"
#include "quant/rotation.h"

namespace lowrank::cpu::reference {
namespace {

float factor_a(const PackedFactor& a, int32_t r, int32_t k) {
  return factor_element(a, factor_a_offset(a, r, k));
}

// h[offset + r] += sum_k u[k] * A[r, begin + k] over one block of k, for every term of the segment.
void add_shrink_block(const AdapterRows& segment, const float* u, Range block, float* h) {
  for (int32_t t = 0; t < segment.shrink_count; ++t) {
    const ShrinkTerm& term = segment.shrink[t];
    const auto& a = static_cast<const PackedFactor&>(*term.a);
    for (int32_t r = 0; r < a.rank; ++r) {
      float sum = 0.0f;
      for (int32_t k = block.begin; k < block.end; ++k)
        sum += u[k - block.begin] * factor_a(a, r, k);
      h[term.h_offset + r] += sum;
    }
  }
}

// Fills h with zeros (before the blocks are added), or scales it (after them).
void begin_shrink(const AdapterRows& segment, float* h) {
  for (int32_t t = 0; t < segment.shrink_count; ++t)
    std::fill_n(h + segment.shrink[t].h_offset, segment.shrink[t].a->rank, 0.0f);
}
void end_shrink(const AdapterRows& segment, float* h) {
  for (int32_t t = 0; t < segment.shrink_count; ++t)
    for (int32_t r = 0; r < segment.shrink[t].a->rank; ++r) {
      const ShrinkTerm& term = segment.shrink[t];
      h[term.h_offset + r] *= term.rank_scale == nullptr ? term.scale : term.scale * term.rank_scale[r];
    }
}

// Row m of the output from u, which is asked for a block of k at a time (twice where the output is int8: an
// op has no memory of its own to keep the row in). fill_u(block, u): u[k - block.begin] = u_k.
template <class FillU>
void quantize_shrink_row(const FillU& fill_u, const InputTransform& input, const AdapterRows* segment,
                         const AdapterSegments& adapters, const Activations& out, int32_t m) {
  const size_t row_begin = static_cast<size_t>(m) * static_cast<size_t>(out.stride);
  float* h = segment == nullptr
                 ? nullptr
                 : adapters.h + static_cast<size_t>(m) * static_cast<size_t>(adapters.h_stride);
  float u[kMaxScaleGroup];
  // Turns the block's u into v; returns its width, K's padding included.
  const auto transform = [&](Range block) {
    const int32_t width = round_up(block.end - block.begin, kActivationAlignment);
    std::fill(u + (block.end - block.begin), u + width, 0.0f);
    for (int32_t j = 0; j < input.outlier_count; ++j) {
      const int32_t k = input.outliers[j];
      if (k < block.begin || k >= block.end) continue;
      out.outliers[static_cast<size_t>(m) * kMaxOutliers + static_cast<size_t>(j)] = u[k - block.begin];
      u[k - block.begin] = 0.0f;
    }
    if (input.smoothing != nullptr)
      for (int32_t k = 0; k < width; ++k)
        u[k] *= input.smoothing[block.begin + k];
    if (input.rotated)
      for (int32_t k = 0; k < width; k += kRotationBlock)
        rotate_block(u + k);
    return width;
  };

  if (segment != nullptr) begin_shrink(*segment, h);
  for (int32_t begin = 0; begin < out.cols; begin += out.group) {
    const Range block = {begin, std::min(begin + out.group, out.cols)};
    fill_u(block, u);
    if (segment != nullptr) add_shrink_block(*segment, u, block, h);
    if (out.format == ActivationFormat::kFloat32) {
      std::copy_n(u, block.end - begin, out.values + row_begin + static_cast<size_t>(begin));
      continue;
    }
    const int32_t width = transform(block);
    int8_t* q = out.q + row_begin + begin;
    const int64_t group = int64_t{m} * out.groups() + begin / out.group;
    out.scale[group] = quantize_group_int8(u, width, q);
    out.compensation[group] = -128 * std::accumulate(q, q + width, 0);
  }
  if (segment != nullptr) end_shrink(*segment, h);
  if (out.format == ActivationFormat::kFloat32)
    std::fill(out.values + row_begin + static_cast<size_t>(out.cols),
              out.values + row_begin + static_cast<size_t>(out.stride), 0.0f);
}

float activate(Activation activation, float x) {
  if (activation == Activation::kSilu) return x / (1.0f + std::exp(-x));
  constexpr float kSqrtTwoOverPi = 0.79788456080286535588f;
  return 0.5f * x * (1.0f + std::tanh(kSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

}  // namespace

float sum_of_squares(const float* x, int32_t count) {
  float total = 0.0f;
  for (int32_t begin = 0; begin < count; begin += kSumBlock) {
    const int32_t end = std::min(begin + kSumBlock, count);
    float sum = 0.0f;
    for (int32_t k = begin; k < end; ++k)
      sum += x[k] * x[k];
    total += sum;
  }
  return total;
}

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts) {
  const int32_t width = args.out.cols;
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const int32_t source = args.row_index == nullptr ? m : args.row_index[m];
    const float* x = args.x + static_cast<size_t>(source) * static_cast<size_t>(args.x_stride);
    const AdapterRows* segment = segment_of(args.adapters.rows, args.adapters.count, m);
    const float* gain = segment != nullptr && segment->norm_gain != nullptr ? segment->norm_gain : args.gain;
    const float mean = sum_of_squares(x, width) / static_cast<float>(width);
    const float factor = 1.0f / std::sqrt(mean + args.epsilon);
    const auto fill_u = [&](Range block, float* u) {
      for (int32_t k = block.begin; k < block.end; ++k)
        u[k - block.begin] = x[k] * factor * gain[k];
    };
    quantize_shrink_row(fill_u, args.input, segment, args.adapters, args.out, m);
  }
}

void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const float* x = args.x + static_cast<size_t>(m) * static_cast<size_t>(args.x_stride);
    const AdapterRows* segment = segment_of(args.adapters.rows, args.adapters.count, m);
    const auto fill_u = [&](Range block, float* u) { std::copy(x + block.begin, x + block.end, u); };
    quantize_shrink_row(fill_u, args.input, segment, args.adapters, args.out, m);
  }
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const float* gate = args.gate_up + static_cast<size_t>(m) * static_cast<size_t>(args.stride);
    const float* up = gate + args.out.cols;
    const AdapterRows* segment = segment_of(args.adapters.rows, args.adapters.count, m);
    const auto fill_u = [&](Range block, float* u) {
      for (int32_t k = block.begin; k < block.end; ++k)
        u[k - block.begin] = activate(args.activation, gate[k]) * up[k];
    };
    quantize_shrink_row(fill_u, args.input, segment, args.adapters, args.out, m);
  }
}

}  // namespace lowrank::cpu::reference
