// The ops of ops/quantize_shrink.h. A source makes the rows u, 16 values at a time:
//   begin(i, m, segment)  row m becomes the i-th of the block
//   value(i, k), value_first(i, k, count)
//
// A block of up to 4 rows of one adapter segment is made in a buffer on the stack, in chunks of 4,096 columns
// (most models' rows fit in one). The first pass makes u, its largest magnitude and the shrink; the second
// quantises from the buffer, or makes u again where there was more than one chunk. So x is read once and the
// buffer stays in the cache.
//
// Scale and rounding are those of quant/int8.h, to the bit.
#pragma once

#include "cpu/simd/row_runs.h"
#include "cpu/simd/shrink.h"
#include "ops/quantize_shrink.h"
#include "quant/int8.h"

namespace lowrank::cpu {

inline constexpr int32_t kQuantizeRows = 4;
inline constexpr int32_t kQuantizeChunk = 4096;

struct QuantizeArgs {
  int32_t rows;
  const float* input_scale;  // [K] or null
  const Activations& out;
  const AdapterSegments& adapters;
};

template <class S, class Source>
class QuantizeBlock {
 public:
  using F = typename S::F32;
  using I = typename S::I32;

  QuantizeBlock(const QuantizeArgs& args, Source& source)
      : args_(args), source_(source), cols_(args.out.cols) {}

  // Rows [m, m + count), all of one segment (or of none).
  void run(const AdapterRows* segment, int32_t m, int32_t count) {
    const bool int8 = args_.out.format == ActivationFormat::kInt8;
    const auto h_stride = static_cast<size_t>(args_.adapters.h_stride);
    float* h = segment == nullptr ? nullptr : args_.adapters.h + static_cast<size_t>(m) * h_stride;
    I largest[kQuantizeRows];
    for (int32_t i = 0; i < count; ++i) {
      source_.begin(i, m + i, segment);
      largest[i] = S::int_zero();
    }
    for (int32_t k = 0; k < cols_; k += kQuantizeChunk) {
      const int32_t width = cols_ - k < kQuantizeChunk ? cols_ - k : kQuantizeChunk;
      for (int32_t i = 0; i < count; ++i) {
        largest[i] = S::int_max(largest[i], make_chunk(i, k, width));
        if (!int8) store_values(m + i, i, k, width);
      }
      if (segment == nullptr) continue;
      for (int32_t t = 0; t < segment->shrink_count; ++t)
        shrink_chunk<S>(segment->shrink[t], {u_[0], kQuantizeChunk, k, width, h, h_stride}, count);
    }
    if (segment != nullptr)
      for (int32_t t = 0; t < segment->shrink_count; ++t)
        scale_shrunk(segment->shrink[t], h, h_stride, count);
    if (!int8) return;
    for (int32_t i = 0; i < count; ++i) quantize_row(m + i, i, S::int_reduce_max(largest[i]));
  }

 private:
  LOWRANK_INLINE F smoothed(F u, int32_t k, int32_t count) const {
    if (args_.input_scale == nullptr) return u;
    return S::mul(u, S::load_first(args_.input_scale + k, count));
  }

  // Fills u_[i] with columns [k, k + width), zero up to a multiple of 64. Returns the largest |v| of each
  // lane, as bits: among non-negative floats, the order of bits is that of values, with infinity and NaN at
  // the top.
  I make_chunk(int32_t i, int32_t k, int32_t width) {
    const I magnitude = S::int_set1(0x7fffffff);
    I largest = S::int_zero();
    int32_t j = 0;
    for (; j + S::kLanes <= width; j += S::kLanes) {
      const F u = source_.value(i, k + j);
      S::store(u_[i] + j, u);
      largest = S::int_max(largest, S::int_and(S::bits(smoothed(u, k + j, S::kLanes)), magnitude));
    }
    if (j < width) {
      const F u = source_.value_first(i, k + j, width - j);
      S::store(u_[i] + j, u);
      largest = S::int_max(largest, S::int_and(S::bits(smoothed(u, k + j, width - j)), magnitude));
      j += S::kLanes;
    }
    for (; j < round_up(width, kActivationAlignment); j += S::kLanes) S::store(u_[i] + j, S::zero());
    return largest;
  }

  // v of the columns from k + j on; zero behind the row's end.
  LOWRANK_INLINE F chunk_value(int32_t i, int32_t k, int32_t j, int32_t width) const {
    const int32_t left = width - j;
    const F u = S::load(u_[i] + j);
    if (left >= S::kLanes) return smoothed(u, k + j, S::kLanes);
    return left > 0 ? smoothed(u, k + j, left) : u;
  }

  void store_values(int32_t m, int32_t i, int32_t k, int32_t width) const {
    float* values = args_.out.values + row_offset(m, k);
    for (int32_t j = 0; j < round_up(width, kActivationAlignment); j += S::kLanes)
      S::store(values + j, chunk_value(i, k, j, width));
  }

  void quantize_row(int32_t m, int32_t i, int32_t largest_bits) {
    const Int8Scale row = int8_scale(static_cast<uint32_t>(largest_bits));
    args_.out.scale[m] = row.scale;
    I sum = S::int_zero();
    for (int32_t k = 0; k < cols_; k += kQuantizeChunk) {
      const int32_t width = cols_ - k < kQuantizeChunk ? cols_ - k : kQuantizeChunk;
      int8_t* q = args_.out.q + row_offset(m, k);
      if (row.inverse == 0.0f) {
        for (int32_t j = 0; j < round_up(width, kActivationAlignment); j += S::kLanes)
          S::store_int8(q + j, S::int_zero());
        continue;
      }
      if (cols_ > kQuantizeChunk) make_chunk(i, k, width);
      // The product is at most 127 and a rounding, so q needs no clamp.
      const F inverse = S::set1(row.inverse);
      for (int32_t j = 0; j < round_up(width, kActivationAlignment); j += S::kLanes) {
        const I rounded = S::round_even(S::mul(chunk_value(i, k, j, width), inverse));
        S::store_int8(q + j, rounded);
        sum = S::int_add(sum, rounded);
      }
    }
    args_.out.sum[m] = S::int_reduce_add(sum);
  }

  size_t row_offset(int32_t m, int32_t k) const {
    return static_cast<size_t>(m) * static_cast<size_t>(args_.out.stride) + static_cast<size_t>(k);
  }

  const QuantizeArgs& args_;
  Source& source_;
  const int32_t cols_;
  alignas(64) float u_[kQuantizeRows][kQuantizeChunk];
};

template <class S, class Source>
void quantize_rows(const QuantizeArgs& args, Source& source, int part, int parts) {
  QuantizeBlock<S, Source> block(args, source);
  const Range rows = split(args.rows, 1, part, parts);
  int32_t cursor = 0;
  for (int32_t m = rows.begin; m < rows.end;) {
    const RowRun run = row_run(args.adapters, cursor, m, rows.end);
    for (; m < run.end; m += kQuantizeRows)
      block.run(run.segment, m, run.end - m < kQuantizeRows ? run.end - m : kQuantizeRows);
    m = run.end;
  }
}

}  // namespace lowrank::cpu
