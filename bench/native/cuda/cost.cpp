#include "cost.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/error.h"
#include "cuda/bfloat16_split.h"
#include "cuda/matmul_expand.h"
#include "cuda/quantize_shrink.h"
#include "device/op_params.h"

namespace lowrank::bench {
namespace {

using device::OpCode;

constexpr double kFloat = sizeof(float);
constexpr double kSector = 32;  // the least that is read of a row of outlier columns
constexpr int32_t kFragmentRows = 16;
using cuda::kSplitParts;
constexpr double kSplit = 5.5;  // of two float32: 4 masks, 4 subtractions, 3 words put together
constexpr double kInt8AsBFloat16 = 1.5;

double element_bytes(WeightFormat format) { return weight_bits(format) / 8.0; }

// Calls visit(segment) for the op's segments.
template <class Visit>
void visit_segments(const PaperStep& step, const device::AdapterSegments& adapters, Visit visit) {
  if (adapters.count == nullptr) return;
  const device::AdapterRows* segments = step.staged(adapters.rows);
  for (int32_t i = 0; i < *step.staged(adapters.count); ++i) visit(segments[i]);
}

double activation_bytes(const device::Activations& x, int32_t rows, int32_t outliers) {
  if (x.format == ActivationFormat::kFloat32) return kFloat * rows * x.stride;
  return double{1} * rows * (x.stride + kFloat * (device::scale_groups(x.cols) + outliers));
}

// Rows of the launch as its kernel pads them.
struct ProductTile {
  double rows;
  double columns;
};
ProductTile padded(const device::MatmulExpandParams& p, const cuda::DeviceFacts& device) {
  const int32_t rows = p.row_end - p.row_begin;
  if (rows <= cuda::kGemvRows) return {static_cast<double>(rows == 3 ? 4 : rows), static_cast<double>(p.w.rows)};
  if (rows <= cuda::kSmallBatchRows)
    return {static_cast<double>(round_up(rows, kFragmentRows)), static_cast<double>(round_up(p.w.rows, cuda::kSmallBatchColumns))};
  const cuda::GemmTile tile = cuda::gemm_tile(p, device.multiprocessors);
  return {static_cast<double>(round_up(rows, tile.rows)), static_cast<double>(round_up(p.w.rows, tile.columns))};
}

Cost cost(const PaperStep& step, const device::MatmulExpandParams& p, const cuda::DeviceFacts& device) {
  const double rows = p.row_end - p.row_begin, n = p.w.rows, groups = device::scale_groups(p.w.cols);
  const bool int8 = p.w.activation == ActivationFormat::kInt8;
  Cost cost;
  cost.read = n * (p.w.stride * element_bytes(p.w.format) + (int8 ? 2 * groups : kFloat));
  cost.read += activation_bytes(p.x, p.row_end - p.row_begin, p.w.outlier_count);
  cost.written = kFloat * rows * n;
  if (p.residual != nullptr) cost.read += kFloat * rows * n;
  if (!int8) {
    cost.float32 = 2 * rows * n * p.w.stride;
    return cost;
  }
  const ProductTile tile = padded(p, device);
  const double fragment_rows = round_up(p.row_end - p.row_begin, kFragmentRows);
  (rows <= cuda::kGemvRows ? cost.dp4a : cost.int8_mma) = 2 * tile.rows * tile.columns * p.w.stride;
  cost.float32 = 4 * tile.rows * tile.columns * groups + 2 * rows * n;
  if (p.w.outlier_columns != nullptr) {
    cost.read += n * std::max(kSector, 2.0 * p.w.outlier_count);
    cost.bf16_mma += kSplitParts * 2 * fragment_rows * n * round_up(p.w.outlier_count, kFragmentRows);
  }
  visit_segments(step, p.adapters, [&](const device::AdapterRows& segment) {
    const double own_rows = round_up(segment.row_end - segment.row_begin, kFragmentRows);
    const device::ExpandTerm* terms = step.staged(segment.expand);
    for (int32_t i = 0; i < segment.expand_count; ++i) {
      const device::Factor& b = terms[i].b;
      const double stride = device::factor_b_stride(b.rank);
      cost.read += b.dimension * stride * static_cast<double>(element_bytes(b.dtype)) + kFloat * (segment.row_end - segment.row_begin) * b.rank;
      (b.dtype == LoraDType::kFloat32 ? cost.float32 : cost.bf16_mma) +=
          (b.dtype == LoraDType::kFloat32 ? 1 : kSplitParts) * 2 * own_rows * b.dimension * stride;
    }
  });
  return cost;
}

// The exponential 15, of which the ex2 is 4 (a quarter of the others' rate), a sum, the reciprocal 4, two products.
constexpr double kMakeGlu = 22;
constexpr double kMakeNorm = 2;

// What the three quantise ops share; `inputs` is how many floats make one of u, `make` the operations on it before
// it is quantised, but for the norm. In bytes, what a block reads of A again, or of a row for its norm, comes from the caches.
template <class Params>
Cost quantize_cost(const PaperStep& step, const Params& p, const cuda::DeviceFacts& device, bool norm, double inputs,
                   double make) {
  constexpr double kNorm = 2, kQuantize = 10;
  constexpr double kSliceSums = 8;  // those of the warps, and the total
  const double elements = double{1} * p.rows * p.out.stride;
  Cost cost;
  cost.read = kFloat * inputs * p.rows * p.out.cols + (p.input.smoothing != nullptr ? kFloat * p.out.stride : 0);
  cost.written = activation_bytes(p.out, p.rows, p.input.outlier_count);
  cost.float32 = kQuantize * elements;
  if (p.adapters.count == nullptr) {
    cost.float32 += (make + (norm ? kNorm : 0)) * elements;
    return cost;
  }
  const cuda::ShrinkGrid grid = cuda::shrink_grid({p.rows, p.out.cols, norm, p.sums.sums != nullptr}, device.multiprocessors);
  cost.float32 += (make + (norm ? kNorm * grid.parts : 0)) * elements * grid.rank_parts;
  const double slices = device::shrink_slices(p.out.cols);
  visit_segments(step, p.adapters, [&](const device::AdapterRows& segment) {
    const double own_rows = segment.row_end - segment.row_begin;
    const double blocks = (segment.row_end - 1) / grid.block_rows - segment.row_begin / grid.block_rows + 1;
    if (segment.shrink_count > 0) cost.float32 += kSplit * own_rows * p.out.stride * grid.rank_parts;
    const device::ShrinkTerm* terms = step.staged(segment.shrink);
    int32_t items = 0;  // of 16 ranks, dealt out to rank_parts
    for (int32_t i = 0; i < segment.shrink_count; ++i) items += round_up(terms[i].a.rank, kFragmentRows) / kFragmentRows;
    const double dealt = double{1} * round_up(items, grid.rank_parts) / std::max(items, 1);
    for (int32_t i = 0; i < segment.shrink_count; ++i) {
      const device::Factor& a = terms[i].a;
      const double stride = round_up(a.dimension, kActivationAlignment);
      const double sums = blocks * cuda::kShrinkRows * round_up(a.rank, kFragmentRows) * dealt;  // of a slice, padded
      cost.read += a.rank * stride * static_cast<double>(element_bytes(a.dtype));
      cost.written += kFloat * own_rows * a.rank;
      if (a.dtype == LoraDType::kFloat32)
        cost.float32 += 2 * sums * stride;
      else
        cost.bf16_mma += kSplitParts * 2 * sums * stride;
      if (a.dtype == LoraDType::kInt8) cost.float32 += kInt8AsBFloat16 * blocks * round_up(a.rank, kFragmentRows) * stride;
      cost.float32 += kSliceSums * sums * slices;
      if (grid.parts > 1) {
        cost.written += kFloat * slices * own_rows * a.rank;
        cost.read += kFloat * slices * own_rows * a.rank;
        cost.float32 += slices * own_rows * a.rank;
      }
    }
  });
  return cost;
}

Cost cost(const device::AttentionPagedParams& p, const PaperStep& step) {
  constexpr double kSoftmax = 8;  // a score: its product, maximum, difference, power, sum, rounding, mask
  const int32_t* positions = step.staged(p.tables.positions);
  const int32_t* first = step.staged(p.tables.first);
  const double group = double{1} * p.heads / p.kv_heads;
  Cost cost;
  // A sequence's keys and values come once, whatever rows of it there are.
  std::map<int32_t, int32_t> length_of;  // by where its table begins
  for (int32_t m = 0; m < p.rows; ++m) length_of[first[m]] = std::max(length_of[first[m]], positions[m] + 1);
  double keys = 0;
  for (const auto& [table, length] : length_of) keys += p.window > 0 ? std::min(length, p.window + p.rows) : length;
  const double key_bytes = static_cast<double>(kv_element_bytes(p.cache.format)) * p.head_dim +
                           (p.cache.format == KvFormat::kInt8 ? kFloat : 0);
  cost.read = 2 * keys * p.kv_heads * key_bytes + kFloat * p.rows * p.heads * p.head_dim;
  cost.written = kFloat * p.rows * p.heads * p.head_dim;
  if (p.splits > 1) {
    const double partial = kFloat * p.rows * p.heads * p.splits * (p.head_dim + 2);
    cost.read += partial;
    cost.written += partial;
  }
  const auto seen = [&](int32_t position) {
    const int32_t begin = p.window > 0 ? std::max(0, position - p.window + 1) : 0;
    return round_up(position + 1, kPageTokens) - begin / kPageTokens * kPageTokens;
  };
  if (p.tiles == nullptr) {
    for (int32_t m = 0; m < p.rows; ++m) cost.float32 += (4.0 * p.head_dim + kSoftmax) * p.heads * seen(positions[m]);
    return cost;
  }
  const device::AttentionTile* tiles = step.staged(p.tiles);
  for (int32_t i = 0; i < p.tile_count; ++i) {
    if (tiles[i].begin == tiles[i].end) continue;
    int32_t last = 0;
    for (int32_t slot = tiles[i].begin; slot < tiles[i].end; ++slot)
      last = std::max(last, positions[static_cast<int32_t>(slot / group)]);
    const double scores = double{1} * round_up(tiles[i].end - tiles[i].begin, kFragmentRows) * seen(last) * p.kv_heads;
    cost.bf16_mma += 4 * scores * p.head_dim;
    cost.float32 += kSoftmax * scores;
  }
  return cost;
}

Cost cost(const device::RopeWriteKvParams& p) {
  Cost cost;
  const double turned = double{1} * p.rows * (p.heads + p.kv_heads) * p.head_dim;
  const double kept = double{2} * p.rows * p.kv_heads * p.head_dim;
  cost.read = kFloat * (turned + kept / 2 + double{1} * p.rows * p.head_dim);
  cost.written = kFloat * p.rows * p.heads * p.head_dim + kept * static_cast<double>(kv_element_bytes(p.cache.format));
  cost.float32 = 3 * turned;
  return cost;
}

Cost cost(const device::EmbedGatherParams& p) {
  const device::Matrix& w = p.table.matrix;
  Cost cost;
  cost.read = double{1} * p.rows * (w.stride * element_bytes(w.format) + 2.0 * device::scale_groups(w.cols) + kSector);
  cost.written = kFloat * p.rows * w.cols;
  cost.float32 = 10.0 * p.rows * w.cols;
  return cost;
}

Cost cost(const device::RopeAnglesParams& p) {
  Cost cost;
  cost.read = kFloat * p.half_dim;
  cost.written = kFloat * 2 * p.rows * p.half_dim;
  cost.float32 = 40.0 * p.rows * p.half_dim;
  return cost;
}

Cost cost(const device::RmsNormAddParams& p) {
  const double elements = double{1} * p.rows * p.width;
  Cost cost;
  cost.read = kFloat * (2 * elements + p.width);
  cost.written = kFloat * elements;
  cost.float32 = 5 * elements;
  return cost;
}

// The sums over all ids go with logits_blocks, the search in the groups that can hold a candidate with logits_candidates.
Cost logits_blocks_cost(int32_t rows, int32_t vocabulary) {
  const double elements = double{1} * rows * vocabulary;
  Cost cost;
  cost.read = kFloat * elements;
  cost.written = kFloat * rows * logit_groups(vocabulary) + sizeof(LogitsBlock) * double{1} * rows * logit_blocks(vocabulary);
  cost.float32 = 8 * elements;
  return cost;
}
Cost logits_candidates_cost(int32_t rows, int32_t vocabulary) {
  Cost cost;
  cost.read = kFloat * rows * logit_groups(vocabulary) + sizeof(LogitsBlock) * double{1} * rows * logit_blocks(vocabulary);
  cost.float32 = 2.0 * rows * logit_groups(vocabulary);
  return cost;
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  read += other.read;
  written += other.written;
  int8_mma += other.int8_mma;
  bf16_mma += other.bf16_mma;
  dp4a += other.dp4a;
  float32 += other.float32;
  return *this;
}

Cost cost_of(const PaperStep& step, const PaperStep::Op& op, const cuda::DeviceFacts& device) {
  switch (op.code) {
    case OpCode::kEmbedGather: return cost(op.as<device::EmbedGatherParams>());
    case OpCode::kRmsNormQuantizeShrink:
      return quantize_cost(step, op.as<device::RmsNormQuantizeShrinkParams>(), device, true, 1, kMakeNorm);
    case OpCode::kQuantizeShrink: return quantize_cost(step, op.as<device::QuantizeShrinkParams>(), device, false, 1, 0);
    case OpCode::kGluQuantizeShrink:
      return quantize_cost(step, op.as<device::GluQuantizeShrinkParams>(), device, false, 2, kMakeGlu);
    case OpCode::kMatmulExpand: return cost(step, op.as<device::MatmulExpandParams>(), device);
    case OpCode::kRopeAngles: return cost(op.as<device::RopeAnglesParams>());
    case OpCode::kRopeWriteKv: return cost(op.as<device::RopeWriteKvParams>());
    case OpCode::kAttentionPaged: return cost(op.as<device::AttentionPagedParams>(), step);
    case OpCode::kRmsNormAdd: return cost(op.as<device::RmsNormAddParams>());
    case OpCode::kLogitsBlocks: {
      const auto& p = op.as<device::LogitsBlocksParams>();
      return logits_blocks_cost(p.row_count, p.vocabulary);
    }
    case OpCode::kLogitsCandidates: {
      const auto& p = op.as<device::LogitsCandidatesParams>();
      return logits_candidates_cost(p.row_count, p.vocabulary);
    }
  }
  throw Error(ErrorCode::kInternal, "Expected an op of op_code.h.");
}

std::string label_of(const PaperStep::Op& op) {
  const auto code = static_cast<uint32_t>(op.code);
  if (code >= device::kOpCodes) throw Error(ErrorCode::kInternal, "Expected an op of op_code.h.");
  if (op.code != OpCode::kMatmulExpand) return device::kOpNames[code];
  const auto& w = op.as<device::MatmulExpandParams>().w;
  return "matmul_expand " + std::to_string(w.rows) + " x " + std::to_string(w.cols);
}

}  // namespace lowrank::bench
