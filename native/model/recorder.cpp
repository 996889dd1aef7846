#include "model/recorder.h"

#include <algorithm>
#include <new>

#include "model/adapter_segments.h"

namespace lowrank {
namespace {

// From this many rows on, an op takes long enough that its parts are worth sharing out as threads get free.
constexpr int32_t kSharedRows = 32;
constexpr int kSharedParts = 3;

}  // namespace

Recorder::Recorder(const StepContext& context, InputObserver* observer)
    : at_(context), observer_(observer), block_{0, context.batch.rows()} {
  set_parts();
  for (const RowSegment& segment : at_.batch.segments) at_.scratch.reserve_h(segment.composition->max_h_width());
}

void Recorder::set_parts() { at_.program.set_parts_per_thread(rows() >= kSharedRows ? kSharedParts : 1); }

const float* const* Recorder::norm_rows(LayerNorm norm) {
  const float** gains = nullptr;
  for (const RowSegment& segment : at_.batch.segments) {
    const float* replaced = segment.composition->norm(layer_, norm);
    const int32_t begin = std::max(segment.begin, block_.begin), end = std::min(segment.end, block_.end);
    if (replaced == nullptr || begin >= end) continue;
    if (gains == nullptr) {
      gains = at_.program.allocate<const float*>(static_cast<size_t>(rows()));
      std::fill(gains, gains + rows(), gain(norm));
    }
    std::fill(gains + begin - block_.begin, gains + end - block_.begin, replaced);
  }
  return gains;
}

// record_input(transform, activations, adapters) records the op that makes the input.
template <class RecordInput>
Recorder::Fed Recorder::feed(Site site, RecordInput record_input) {
  if (weights().product(site) == nullptr) {
    const Activations values = at_.scratch.float_activations(config().cols(site));
    record_input(InputTransform{}, values, AdapterSegments{});
    observer_->observe(layer_, site, values.values, values.stride);
    set_parts();
  }
  const Matrix& matrix = *weights().product(site);
  const AdapterSegments adapters =
      adapter_segments(at_.program, at_.scratch, at_.batch.segments, block_,
                       [layer = layer_, site](const Composition& composition) -> const SitePlan& { return composition.site(layer, site); });
  const Activations in = at_.scratch.activations(matrix, block_.begin);
  record_input(matrix.input, in, adapters);
  return {in, matrix, weights().bias(site), adapters};
}

Recorder::Fed Recorder::feed_x(Site site, std::optional<LayerNorm> before) {
  const float* x = block_of(at_.scratch.x, config().hidden_size);
  return feed(site, [&](const InputTransform& input, const Activations& out, const AdapterSegments& adapters) {
    if (before)
      at_.program.add<RmsNormQuantizeShrinkArgs>(at_.ops.rmsnorm_quantize_shrink,
                                                 {x, config().hidden_size, nullptr, rows(), gain(*before), config().norm_epsilon,
                                                  input, out, adapters});
    else
      at_.program.add<QuantizeShrinkArgs>(at_.ops.quantize_shrink, {x, config().hidden_size, rows(), input, out, adapters});
  });
}

MatmulExpandArgs Recorder::product(const Fed& fed, const float* residual, float* y, int32_t y_stride) const {
  return {fed.in, &fed.matrix, 0, rows(), fed.bias.data(), residual, y, y_stride, fed.adapters};
}

void Recorder::add_product(const Fed& fed, std::optional<LayerNorm> after) {
  const int32_t width = config().hidden_size;
  float* x = block_of(at_.scratch.x, width);
  const float multiplier = config().residual_multiplier;
  if (!after && multiplier == 1.0f) {
    at_.program.add(at_.ops.matmul_expand, product(fed, x, x, width));
    return;
  }
  float* y = block_of(at_.scratch.y, width);
  at_.program.add(at_.ops.matmul_expand, product(fed, nullptr, y, width));
  at_.program.add<RmsNormAddArgs>(at_.ops.rmsnorm_add, {y, x, rows(), width, after ? gain(*after) : nullptr, config().norm_epsilon,
                                                        after ? norm_rows(*after) : nullptr, multiplier});
}

void Recorder::project_qkv(std::optional<LayerNorm> before) {
  const Fed fed = feed_x(Site::kQkv, before);
  at_.program.add(at_.ops.matmul_expand,
                  product(fed, nullptr, block_of(at_.scratch.wide, at_.scratch.wide_width), config().rows(Site::kQkv)));
}

void Recorder::rope_write_kv() {
  const int32_t half = config().head_dim / 2;
  const int64_t max_rows = at_.scratch.max_rows;
  const LayerConfig& layer = config().layers[static_cast<size_t>(layer_)];
  const bool rotates = layer.rope != kNoRope;
  const float* cosine = rotates ? at_.scratch.angles.as<float>() + (2 * layer.rope * max_rows + block_.begin) * half : nullptr;
  const auto rows_of = [&](LayerNorm norm) { return gain(norm) == nullptr ? nullptr : norm_rows(norm); };
  at_.program.add<RopeWriteKvArgs>(
      at_.ops.rope_write_kv,
      {block_of(at_.scratch.wide, at_.scratch.wide_width), config().rows(Site::kQkv), rows(), config().heads, config().kv_heads,
       config().head_dim, cosine, rotates ? cosine + max_rows * half : nullptr, gain(LayerNorm::kQ), gain(LayerNorm::kK), rows_of(LayerNorm::kQ),
       rows_of(LayerNorm::kK), config().norm_epsilon, at_.batch.positions.data() + block_.begin,
       at_.batch.block_tables.data() + block_.begin, at_.cache.layer(layer_),
       config().joint_head_norms});
}

void Recorder::attend() {
  const int32_t width = config().cols(Site::kO);
  at_.program.add<AttentionPagedArgs>(
      at_.ops.attention_paged,
      {block_of(at_.scratch.wide, at_.scratch.wide_width), config().rows(Site::kQkv), rows(), config().heads, config().kv_heads,
       config().head_dim, config().attention_scale, config().layers[static_cast<size_t>(layer_)].window,
       at_.batch.positions.data() + block_.begin, at_.batch.block_tables.data() + block_.begin, at_.cache.layer(layer_),
       block_of(at_.scratch.heads, width), width, share_, config().attention_soft_cap});
}

void Recorder::add_attention(std::optional<LayerNorm> after) {
  const int32_t width = config().cols(Site::kO);
  const float* heads = block_of(at_.scratch.heads, width);
  add_product(feed(Site::kO,
                   [&](const InputTransform& input, const Activations& out, const AdapterSegments& adapters) {
                     at_.program.add<QuantizeShrinkArgs>(at_.ops.quantize_shrink, {heads, width, rows(), input, out, adapters});
                   }),
              after);
}

void Recorder::project_gate_up(std::optional<LayerNorm> before) {
  const Fed fed = feed_x(Site::kGateUp, before);
  at_.program.add_with_thread_scratch<&MatmulExpandArgs::y>(at_.ops.matmul_expand,
                                                            product(fed, nullptr, gate_up_values(), config().rows(Site::kGateUp)));
}

void Recorder::add_feed_forward(std::optional<LayerNorm> after) {
  add_product(feed(Site::kDown,
                   [&](const InputTransform& input, const Activations& out, const AdapterSegments& adapters) {
                     at_.program.add_with_thread_scratch<&GluQuantizeShrinkArgs::gate_up>(
                         at_.ops.glu_quantize_shrink,
                         GluQuantizeShrinkArgs{gate_up_values(), config().rows(Site::kGateUp), rows(), config().activation, input, out,
                                               adapters});
                   }),
              after);
}

void Recorder::angles() {
  const int32_t half = config().head_dim / 2;
  const int64_t max_rows = at_.scratch.max_rows;
  for (size_t i = 0; i < config().ropes.size(); ++i) {
    float* cosine = at_.scratch.angles.as<float>() + static_cast<int64_t>(2 * i) * max_rows * half;
    at_.program.add<RopeAnglesArgs>(at_.ops.rope_angles,
                                    {at_.batch.positions.data(), rows(), at_.scratch.rope_frequencies[i].data(), half,
                                     config().ropes[i].attention_factor, cosine, cosine + max_rows * half});
  }
}

void Recorder::norm_head_input(const int32_t* row_index, int32_t count, const InputTransform& input, const Activations& out,
                               const AdapterSegments& adapters) {
  at_.program.add<RmsNormQuantizeShrinkArgs>(at_.ops.rmsnorm_quantize_shrink,
                                             {at_.scratch.x.as<float>(), config().hidden_size, row_index, count,
                                              at_.weights.final_norm.data(), config().norm_epsilon, input, out, adapters});
}

void Recorder::share_attention(int threads) {
  if (threads < 2 || rows() == 0 || rows() >= kSharedRows || !at_.scratch.on_host()) return;
  const int32_t longest = *std::max_element(at_.batch.positions.begin(), at_.batch.positions.end()) + 1;
  const int32_t splits = (longest + kAttentionSplit - 1) / kAttentionSplit;
  if (splits < 2) return;  // nothing to share out
  const int32_t queries = std::min(rows() * config().heads / config().kv_heads, kAttentionTileQueries);
  at_.scratch.reserve_partials(attention_share_floats(threads, splits, queries, config().head_dim));
  auto* arrived = at_.program.allocate<std::atomic<uint32_t>>(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) new (arrived + i) std::atomic<uint32_t>(0);
  // The same memory for all layers: a barrier lies between.
  share_ = {at_.scratch.partials.as<float>(), arrived, splits, queries};
}

}  // namespace lowrank
