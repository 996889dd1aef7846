// The ops of ops/quantize_shrink.h. A source makes the rows u, 16 values at a time:
//   begin(i, m, segment)  row m becomes the i-th of the block
//   value(i, k), value_first(i, k, count)
//
// A block of up to 4 rows of one adapter segment is made in a buffer on the stack, in chunks of 4,096 columns: u, the
// shrink, then v and its int8 form one scale group after the other. So x is read once and the buffer stays in the cache.
//
// Where there are fewer rows than parts, as in a decode, several parts share a row: each makes u, and of the shrink's ranks
// and of the scale groups its own share. No sum is split, so the result is the same to the bit.
//
// Scale and rounding are those of quant/int8.h, to the bit.
#pragma once

#include "cpu/simd/rotation.h"
#include "cpu/simd/row_runs.h"
#include "cpu/simd/shrink.h"
#include "ops/quantize_shrink.h"
#include "quant/int8.h"

namespace lowrank::cpu {

inline constexpr int32_t kQuantizeRows = 4;
static_assert(kQuantizeChunk % kMaxScaleGroup == 0 && kMinScaleGroup % kRotationBlock == 0);

struct QuantizeArgs {
  int32_t rows;
  const InputTransform& input;
  const Activations& out;
  const AdapterSegments& adapters;
};

template <class S, class Source>
class QuantizeBlock {
 public:
  using F = typename S::F32;
  using I = typename S::I32;

  // `order`: that of the rows' segments.
  QuantizeBlock(const QuantizeArgs& args, Source& source, RowShare share, ShrinkOrder order)
      : args_(args), source_(source), cols_(args.out.cols), group_(args.out.group), groups_(args.out.groups()), share_(share), order_(order) {
    own_ = split(groups_, 1, share.index, share.count);
    own_ = {own_.begin * group_, own_.end * group_ < cols_ ? own_.end * group_ : cols_};
  }

  // Rows [m, m + count), all of one segment (or of none). `first`: they are its first.
  void run(const AdapterRows* segment, int32_t m, int32_t count, bool first) {
    const bool int8 = args_.out.format == ActivationFormat::kInt8;
    const auto h_stride = static_cast<size_t>(args_.adapters.h_stride);
    float* h = segment == nullptr ? nullptr : args_.adapters.h + static_cast<size_t>(m) * h_stride;
    const int32_t terms = segment == nullptr ? 0 : segment->shrink_count;
    ShrinkOrder* const order = terms > 0 && first ? &order_ : nullptr;  // later rows find A in the cache
    if (order != nullptr && !order->has_begun(segment)) begin_segment(*order, segment, cols_);
    for (int32_t i = 0; i < count; ++i) source_.begin(i, m + i, segment);
    const Range made = terms > 0 ? Range{0, cols_} : own_;
    const bool halves = rounds_input(segment, terms);
    for (int32_t k = made.begin; k < made.end; k += kQuantizeChunk) {
      const int32_t width = made.end - k < kQuantizeChunk ? made.end - k : kQuantizeChunk;
      for (int32_t i = 0; i < count; ++i) make_chunk(i, k, width);
      if (halves)
        for (int32_t i = 0; i < count; ++i) round_chunk(i, width);
      for (int32_t t = 0; t < terms; ++t)
        shrink_chunk<S>(segment->shrink[t], own_ranks(segment->shrink[t], share_),
                        {u_[0], halves_[0], kQuantizeChunk, k, width, h, h_stride}, count, order);
      for (int32_t i = 0; i < count; ++i)
        if (int8)
          quantize_chunk(m + i, i, k, width);
        else
          store_values(m + i, i, k, width);
    }
    for (int32_t t = 0; t < terms; ++t)
      scale_shrunk(segment->shrink[t], own_ranks(segment->shrink[t], share_), h, h_stride, count);
  }

 private:
  // Fills u_[i] with columns [k, k + width), zero up to a multiple of 64.
  void make_chunk(int32_t i, int32_t k, int32_t width) {
    int32_t j = 0;
    for (; j + S::kLanes <= width; j += S::kLanes) S::store(u_[i] + j, source_.value(i, k + j));
    if (j < width) {
      S::store(u_[i] + j, source_.value_first(i, k + j, width - j));
      j += S::kLanes;
    }
    for (; j < round_up(width, kActivationAlignment); j += S::kLanes) S::store(u_[i] + j, S::zero());
  }

  // Whether some A is multiplied by bfloat16 products.
  static bool rounds_input(const AdapterRows* segment, int32_t terms) {
    if constexpr (S::kBFloat16LowRank)
      for (int32_t t = 0; t < terms; ++t)
        if (static_cast<const PackedFactor&>(*segment->shrink[t].a).dtype == LoraDType::kBFloat16) return true;
    return false;
  }
  void round_chunk(int32_t i, int32_t width) {
    if constexpr (S::kBFloat16LowRank)
      for (int32_t j = 0; j < round_up(width, kActivationAlignment); j += S::kLanes)
        S::store_bfloat16(halves_[i] + j, S::load(u_[i] + j));
  }

  void quantize_chunk(int32_t m, int32_t i, int32_t k, int32_t width) {
    take_outliers(m, i, k, width);
    const int32_t padded = round_up(width, kActivationAlignment);
    size_t group = static_cast<size_t>(m) * static_cast<size_t>(groups_) + static_cast<size_t>(k / group_);
    for (int32_t j = 0; j < padded; j += group_, ++group) {
      if (k + j < own_.begin || k + j >= own_.end) continue;
      const int32_t end = j + group_ < padded ? j + group_ : padded;
      const Int8Scale scale = int8_scale(static_cast<uint32_t>(S::int_reduce_max(transform_group(i, k, j, end))));
      args_.out.scale[group] = scale.scale;
      args_.out.compensation[group] = -128 * quantize_group(u_[i] + j, end - j, scale.inverse, args_.out.q + row_offset(m, k + j));
    }
  }

  void take_outliers(int32_t m, int32_t i, int32_t k, int32_t width) {
    const InputTransform& input = args_.input;
    float* outliers = args_.out.outliers + static_cast<size_t>(m) * kMaxOutliers;
    for (int32_t j = 0; j < input.outlier_count; ++j) {
      const int32_t at = input.outliers[j] - k;
      if (at < 0 || at >= width) continue;
      if (k + at >= own_.begin && k + at < own_.end) outliers[j] = u_[i][at];
      u_[i][at] = 0.0f;
    }
  }

  // Turns u_[i][begin … end) into v in place. Returns the largest |v| of each lane, as bits: among non-negative floats,
  // the order of bits is that of values, with infinity and NaN at the top.
  I transform_group(int32_t i, int32_t k, int32_t begin, int32_t end) {
    const InputTransform& input = args_.input;
    const I magnitude = S::int_set1(0x7fffffff);
    I largest = S::int_zero();
    for (int32_t j = begin; j < end; j += kRotationBlock) {
      if (input.smoothing != nullptr)
        for (int32_t lane = j; lane < j + kRotationBlock; lane += S::kLanes)
          S::store(u_[i] + lane, S::mul(S::load(u_[i] + lane), S::load(input.smoothing + k + lane)));
      if (input.rotated) rotate_block<S>(u_[i] + j);
      for (int32_t lane = j; lane < j + kRotationBlock; lane += S::kLanes)
        largest = S::int_max(largest, S::int_and(S::bits(S::load(u_[i] + lane)), magnitude));
    }
    return largest;
  }

  // Returns the sum of q.
  static int32_t quantize_group(const float* v, int32_t count, float inverse, int8_t* q) {
    if (inverse == 0.0f) {
      for (int32_t j = 0; j < count; j += S::kLanes) S::store_int8(q + j, S::int_zero());
      return 0;
    }
    // The product is at most 127 and a rounding, so q needs no clamp.
    const F factor = S::set1(inverse);
    I sum = S::int_zero();
    for (int32_t j = 0; j < count; j += S::kLanes) {
      const I rounded = S::round_even(S::mul(S::load(v + j), factor));
      S::store_int8(q + j, rounded);
      sum = S::int_add(sum, rounded);
    }
    return S::int_reduce_add(sum);
  }

  void store_values(int32_t m, int32_t i, int32_t k, int32_t width) const {
    float* values = args_.out.values + row_offset(m, k);
    for (int32_t j = 0; j < round_up(width, kActivationAlignment); j += S::kLanes)
      S::store(values + j, S::load(u_[i] + j));
  }

  size_t row_offset(int32_t m, int32_t k) const {
    return static_cast<size_t>(m) * static_cast<size_t>(args_.out.stride) + static_cast<size_t>(k);
  }

  const QuantizeArgs& args_;
  Source& source_;
  const int32_t cols_;
  const int32_t group_, groups_;
  const RowShare share_;
  ShrinkOrder order_;
  Range own_;  // columns that this part quantises
  alignas(64) float u_[kQuantizeRows][kQuantizeChunk];
  alignas(64) uint16_t halves_[kQuantizeRows][S::kBFloat16LowRank ? kQuantizeChunk : 1];  // u_ in bfloat16, for the shrink
};

template <class S, class Source>
void quantize_rows(const QuantizeArgs& args, Source& source, int part, int parts) {
  // Float rows are only ever made to prove or to calibrate.
  const int sharing = args.out.format == ActivationFormat::kInt8 && args.rows > 0 && args.rows < parts ? parts / args.rows : 1;
  const Range rows = sharing > 1 ? Range{part / sharing, part / sharing < args.rows ? part / sharing + 1 : part / sharing}
                                 : split(args.rows, 1, part, parts);
  const RowShare share = {part % sharing, sharing};
  QuantizeBlock<S, Source> block(args, source, share, {args.adapters, rows, args.out.cols, share});
  int32_t cursor = 0;
  for (int32_t m = rows.begin; m < rows.end;) {
    const RowRun run = row_run(args.adapters, cursor, m, rows.end);
    for (bool first = true; m < run.end; m += kQuantizeRows, first = false)
      block.run(run.segment, m, run.end - m < kQuantizeRows ? run.end - m : kQuantizeRows, first);
    m = run.end;
  }
}

}  // namespace lowrank::cpu
