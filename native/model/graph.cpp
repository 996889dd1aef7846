#include "model/graph.h"

#include <algorithm>
#include <new>

namespace lowrank {
namespace {

// From so many rows on, an op takes long enough that its parts are worth sharing out as threads get free.
constexpr int32_t kSharedRows = 32;
constexpr int kSharedParts = 3;

constexpr int64_t kFloat = sizeof(float);
constexpr int32_t kHAlignment = 4;  // so that each row begins at a multiple of 16 bytes

// Fewer rows in a block would read the weights for too little; more gain nothing.
constexpr int32_t kLeastBlockRows = 32;
constexpr int32_t kMostBlockRows = 48;
constexpr int32_t kBlockAlignment = 8;

}  // namespace

RowBlocks row_blocks(const Backend& backend, const ModelConfig& config, int32_t rows, int threads) {
  const size_t bytes = backend.row_block_bytes();
  if (bytes == 0 || rows < kLeastBlockRows * std::max(threads, 2)) return {0, threads};
  const auto row_bytes = static_cast<size_t>(site_rows(config, Site::kGateUp)) * sizeof(float);
  const auto fit = static_cast<int32_t>(std::min(bytes / row_bytes, size_t{kMostBlockRows}));
  // With two blocks more than threads nobody waits for a neighbour.
  const int32_t share = round_up(rows / (threads + 2), kBlockAlignment);
  return {std::max(std::min(fit, share) / kBlockAlignment * kBlockAlignment, kLeastBlockRows), threads};
}

void Batch::clear() {
  tokens.clear();
  positions.clear();
  block_tables.clear();
  segments.clear();
}

Scratch::Scratch(const Backend& backend, const ModelConfig& config, int32_t rows, int32_t logit_rows)
    : max_rows(rows), max_logit_rows(logit_rows), gate_up_width(site_rows(config, Site::kGateUp)),
      wide_width(std::max(site_rows(config, Site::kQkv), gate_up_width)),
      backend_(backend) {
  const int32_t attention = config.heads * config.head_dim;
  const int32_t widest = std::max({config.hidden_size, config.intermediate_size, attention});
  const int64_t m = rows;
  stride = round_up(widest, kActivationAlignment);
  groups = scale_groups(widest, kMinScaleGroup);
  x = zeros(kFloat * m * config.hidden_size, Buffer::Pages::kOwn);
  y = zeros(kFloat * m * config.hidden_size);
  wide = zeros(kFloat * m * wide_width, Buffer::Pages::kOwn);
  heads = zeros(kFloat * m * attention, Buffer::Pages::kOwn);
  q = zeros(m * stride, Buffer::Pages::kOwn);
  scale = zeros(kFloat * m * groups);
  compensation = zeros(kFloat * m * groups);
  outliers = zeros(kFloat * m * kMaxOutliers);
  values = zeros(kFloat * m * stride);
  angles = zeros(kFloat * m * config.head_dim * static_cast<int64_t>(config.ropes.size()));
  logits = zeros(kFloat * logit_rows * config.vocabulary_size);
}

BackendMemory Scratch::zeros(int64_t bytes, Buffer::Pages pages) const {
  return backend_.reserve(static_cast<size_t>(bytes), pages);
}

void Scratch::reserve_h(int32_t width) {
  if (width <= h_width) return;
  h_width = round_up(width, kHAlignment);
  h = zeros(kFloat * max_rows * h_width);
}

void Scratch::reserve_partials(int64_t floats) {
  if (static_cast<size_t>(kFloat * floats) > partials.bytes()) partials = zeros(kFloat * floats);
}

void Scratch::reserve_own(int32_t rows, int threads) {
  const int64_t bytes = kFloat * threads * rows * gate_up_width;
  if (static_cast<size_t>(bytes) > own.bytes()) own = zeros(bytes, Buffer::Pages::kOwn);
}

size_t Scratch::bytes() const {
  size_t all = 0;
  for (const BackendMemory* memory :
       {&x, &y, &wide, &heads, &q, &scale, &compensation, &outliers, &values, &angles, &own, &h, &partials, &logits})
    all += memory->bytes();
  return all;
}

Graph::Graph(Program& program, const OpTable& ops, const ModelConfig& config, const Weights& weights, const KvCache& cache,
             Scratch& scratch, const Batch& batch)
    : program_(program), ops_(ops), config_(config), weights_(weights), cache_(cache), scratch_(scratch), batch_(batch),
      block_{0, batch.rows()} {
  program_.set_parts_per_thread(rows() >= kSharedRows ? kSharedParts : 1);
  for (const RowSegment& segment : batch.segments) scratch_.reserve_h(segment.composition->max_h_width());
}

const float* Graph::gain(int32_t layer, LayerNorm norm) const {
  return weights_.layers[static_cast<size_t>(layer)].norms[static_cast<size_t>(norm)].data();
}

// Descriptors of the segments that do something at this place for some of `window`, counted from its first row; rows of the
// others run as the base.
AdapterSegments Graph::describe(const std::vector<RowSegment>& segments, Range window,
                                const SitePlan& (*plan)(const Composition&, int32_t, Site), int32_t layer, Site site) {
  AdapterSegments out;
  if (segments.empty()) return out;
  auto* rows = program_.allocate<AdapterRows>(segments.size());
  for (const RowSegment& segment : segments) {
    const SitePlan& at = plan(*segment.composition, layer, site);
    const Range own = {std::max(segment.begin, window.begin), std::min(segment.end, window.end)};
    if (own.begin >= own.end || at.empty()) continue;
    rows[out.count++] = {own.begin - window.begin,
                         own.end - window.begin,
                         at.shrink.data(),
                         static_cast<int32_t>(at.shrink.size()),
                         at.expand.data(),
                         static_cast<int32_t>(at.expand.size()),
                         at.output_gain.data(),
                         at.bias.data(),
                         at.norm_gain};
  }
  out.rows = rows;
  out.h = scratch_.h.as<float>() + int64_t{window.begin} * scratch_.h_width;
  // The same for all adapters, so that a step's launches on a device do not depend on which there are.
  out.h_stride = scratch_.h_width;
  return out;
}

AdapterSegments Graph::site_segments(int32_t layer, Site site) {
  return describe(
      batch_.segments, block_,
      [](const Composition& composition, int32_t at, Site which) -> const SitePlan& { return composition.site(at, which); },
      layer, site);
}

const float* const* Graph::norm_rows(int32_t layer, LayerNorm norm) {
  const float** gains = nullptr;
  for (const RowSegment& segment : batch_.segments) {
    const float* replaced = segment.composition->norm(layer, norm);
    const int32_t begin = std::max(segment.begin, block_.begin), end = std::min(segment.end, block_.end);
    if (replaced == nullptr || begin >= end) continue;
    if (gains == nullptr) {
      gains = program_.allocate<const float*>(static_cast<size_t>(rows()));
      std::fill(gains, gains + rows(), gain(layer, norm));
    }
    std::fill(gains + begin - block_.begin, gains + end - block_.begin, replaced);
  }
  return gains;
}

// A block begins where its rows of the widest product would; rows of narrower ones lie closer together from there.
Activations Graph::activations(const Matrix& matrix) {
  const int64_t first = block_.begin;
  Activations out;
  out.format = matrix.scheme.activations;
  out.group = matrix.scheme.group;
  out.cols = matrix.cols;
  out.stride = round_up(matrix.cols, kActivationAlignment);
  out.q = scratch_.q.as<int8_t>() + first * scratch_.stride;
  out.scale = scratch_.scale.as<float>() + first * scratch_.groups;
  out.compensation = scratch_.compensation.as<int32_t>() + first * scratch_.groups;
  out.outliers = scratch_.outliers.as<float>() + first * kMaxOutliers;
  out.values = scratch_.values.as<float>() + first * scratch_.stride;
  return out;
}

MatmulExpandArgs Graph::product(const Activations& in, const Matrix& matrix, const BackendVector& bias, const float* residual,
                                float* y, int32_t y_stride, const AdapterSegments& adapters) const {
  return {in, &matrix, 0, rows(), bias.data(), residual, y, y_stride, adapters};
}

void Graph::embed() {
  EmbedGatherArgs args{};
  args.tokens = batch_.tokens.data();
  args.rows = rows();
  args.table = weights_.embed_tokens.get();
  args.multiplier = config_.embedding_multiplier;
  args.x = scratch_.x.as<float>();
  auto* rows = program_.allocate<EmbeddingRows>(batch_.segments.size());
  for (const RowSegment& segment : batch_.segments) {
    const Composition& composition = *segment.composition;
    const auto& terms = composition.embedding_terms();
    if (terms.empty() && composition.embed_tokens_weight() == nullptr) continue;
    rows[args.segment_count++] = {segment.begin,
                                  segment.end,
                                  terms.data(),
                                  static_cast<int32_t>(terms.size()),
                                  composition.embed_tokens_weight(),
                                  nullptr};
  }
  args.segments = rows;
  program_.add<EmbedGatherArgs>(ops_.embed_gather, args);
  angles();
}

void Graph::angles() {
  const int32_t half = config_.head_dim / 2;
  float* angles = scratch_.angles.as<float>();
  for (size_t i = 0; i < config_.ropes.size(); ++i) {
    const RopeConfig& rope = config_.ropes[i];
    float* cosine = angles + static_cast<int64_t>(2 * i) * scratch_.max_rows * half;
    program_.add<RopeAnglesArgs>(ops_.rope_angles,
                                 {batch_.positions.data(), rows(), weights_.rope_frequencies[i].data(), half,
                                  rope.attention_factor, cosine, cosine + int64_t{scratch_.max_rows} * half});
  }
}

// x += W in, or x += norm(W in).
void Graph::add_block_output(int32_t layer, const Activations& in, Site site, std::optional<LayerNorm> norm,
                             const AdapterSegments& adapters) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const Matrix& matrix = *weights.products[static_cast<size_t>(site)];
  const auto& bias = weights.biases[static_cast<size_t>(site)];
  float* x = block_of(scratch_.x, config_.hidden_size);
  if (!norm) {
    program_.add(ops_.matmul_expand, product(in, matrix, bias, x, x, config_.hidden_size, adapters));
    return;
  }
  float* y = block_of(scratch_.y, config_.hidden_size);
  program_.add(ops_.matmul_expand, product(in, matrix, bias, nullptr, y, config_.hidden_size, adapters));
  program_.add<RmsNormAddArgs>(ops_.rmsnorm_add, {y, x, rows(), config_.hidden_size, gain(layer, *norm), config_.norm_epsilon,
                                                  norm_rows(layer, *norm)});
}

void Graph::normalize(int32_t layer, LayerNorm norm, const InputTransform& input, const Activations& out,
                      const AdapterSegments& adapters) {
  program_.add<RmsNormQuantizeShrinkArgs>(ops_.rmsnorm_quantize_shrink,
                                          {block_of(scratch_.x, config_.hidden_size), config_.hidden_size, nullptr, rows(),
                                           gain(layer, norm), config_.norm_epsilon, input, out, adapters});
}

Activations Graph::float_values(int32_t cols) {
  Activations out;
  out.format = ActivationFormat::kFloat32;
  out.cols = cols;
  out.stride = round_up(cols, kActivationAlignment);
  out.values = scratch_.values.as<float>();
  return out;
}

void Graph::input_values(int32_t layer, Site site) {
  if (site == Site::kDown)
    program_.add<GluQuantizeShrinkArgs>(ops_.glu_quantize_shrink,
                                        {scratch_.wide.as<float>(), 2 * config_.intermediate_size, rows(), config_.activation,
                                         {}, float_values(config_.intermediate_size), {}});
  else
    normalize(layer, site == Site::kQkv ? config_.attention_norms.before : config_.feed_forward_norms.before, {},
              float_values(config_.hidden_size), {});
}

void Graph::head_input_values() {
  program_.add<RmsNormQuantizeShrinkArgs>(ops_.rmsnorm_quantize_shrink,
                                          {scratch_.x.as<float>(), config_.hidden_size, nullptr, rows(),
                                           weights_.final_norm.data(), config_.norm_epsilon, {},
                                           float_values(config_.hidden_size), {}});
}

void Graph::layers(const RowBlocks& row_blocks) {
  const auto layers = static_cast<int32_t>(config_.layers.size());
  const Range all = block_;
  if (row_blocks.rows <= 0 || row_blocks.rows >= rows()) {
    share_splits(row_blocks.threads);
    for (int32_t layer = 0; layer < layers; ++layer) {
      attention(layer);
      attention_output(layer);
      gate_up(layer);
      down(layer);
    }
    return;
  }
  // A chain takes a block from one layer's keys and values to the next one's. Its attention reads the keys of the blocks before
  // it; the block behind it must have written its own, too, for they may lie in the same page.
  scratch_.reserve_own(row_blocks.rows, row_blocks.threads);
  program_.set_thread_bytes(sizeof(float) * static_cast<size_t>(row_blocks.rows) * static_cast<size_t>(scratch_.gate_up_width));
  const auto blocks = static_cast<size_t>((rows() + row_blocks.rows - 1) / row_blocks.rows);
  for (int32_t layer = -1; layer < layers; ++layer) {
    const size_t before = static_cast<size_t>(layer + 1) * blocks;  // chains of the layers before
    for (size_t i = 0; i < blocks; ++i) {
      block_.begin = all.begin + static_cast<int32_t>(i) * row_blocks.rows;
      block_.end = std::min(block_.begin + row_blocks.rows, all.end);
      program_.begin_chain(layer < 0 ? 0 : std::min(before - blocks + i + 2, before));
      if (layer >= 0) {
        attend(layer);
        attention_output(layer);
        gate_up(layer);
        down(layer);
      }
      if (layer + 1 < layers) project_qkv(layer + 1);
      program_.end_chain();
    }
  }
  block_ = all;
}

void Graph::share_splits(int threads) {
  if (threads < 2 || rows() == 0 || rows() >= kSharedRows || !scratch_.on_host()) return;
  const int32_t longest = *std::max_element(batch_.positions.begin(), batch_.positions.end()) + 1;
  const int32_t splits = (longest + kAttentionSplit - 1) / kAttentionSplit;
  if (splits < 2) return;  // nothing to share out
  const int32_t queries = std::min(rows() * config_.heads / config_.kv_heads, kAttentionTileQueries);
  scratch_.reserve_partials(attention_share_floats(threads, splits, queries, config_.head_dim));
  auto* arrived = program_.allocate<std::atomic<uint32_t>>(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) new (arrived + i) std::atomic<uint32_t>(0);
  // The same memory for all layers: a barrier lies between.
  share_ = {scratch_.partials.as<float>(), arrived, splits, queries};
}

void Graph::attention(int32_t layer) {
  project_qkv(layer);
  attend(layer);
}

void Graph::project_qkv(int32_t layer) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const LayerConfig& layer_config = config_.layers[static_cast<size_t>(layer)];
  const Matrix& qkv = *weights.products[static_cast<size_t>(Site::kQkv)];
  const int32_t qkv_stride = qkv.rows;
  float* wide = block_of(scratch_.wide, scratch_.wide_width);

  const AdapterSegments in_adapters = site_segments(layer, Site::kQkv);
  const Activations in = activations(qkv);
  normalize(layer, config_.attention_norms.before, qkv.input, in, in_adapters);
  program_.add(ops_.matmul_expand,
               product(in, qkv, weights.biases[static_cast<size_t>(Site::kQkv)], nullptr, wide, qkv_stride, in_adapters));

  const int32_t half = config_.head_dim / 2;
  const float* cosine =
      scratch_.angles.as<float>() + (int64_t{2} * layer_config.rope * scratch_.max_rows + block_.begin) * half;
  const auto& q_norm = weights.norms[static_cast<size_t>(LayerNorm::kQ)];
  const auto& k_norm = weights.norms[static_cast<size_t>(LayerNorm::kK)];
  program_.add<RopeWriteKvArgs>(
      ops_.rope_write_kv,
      {wide, qkv_stride, rows(), config_.heads, config_.kv_heads, config_.head_dim, cosine,
       cosine + int64_t{scratch_.max_rows} * half, q_norm.data(), k_norm.data(),
       q_norm.empty() ? nullptr : norm_rows(layer, LayerNorm::kQ), k_norm.empty() ? nullptr : norm_rows(layer, LayerNorm::kK),
       config_.norm_epsilon, batch_.positions.data() + block_.begin, batch_.block_tables.data() + block_.begin,
       cache_.layer(layer)});
}

void Graph::attend(int32_t layer) {
  const LayerConfig& layer_config = config_.layers[static_cast<size_t>(layer)];
  const int32_t width = config_.heads * config_.head_dim;
  program_.add<AttentionPagedArgs>(ops_.attention_paged,
                                   {block_of(scratch_.wide, scratch_.wide_width), site_rows(config_, Site::kQkv), rows(),
                                    config_.heads, config_.kv_heads, config_.head_dim, config_.attention_scale, layer_config.window,
                                    batch_.positions.data() + block_.begin, batch_.block_tables.data() + block_.begin,
                                    cache_.layer(layer), block_of(scratch_.heads, width), width, share_});
}

void Graph::attention_output(int32_t layer) {
  const Matrix& o = *weights_.layers[static_cast<size_t>(layer)].products[static_cast<size_t>(Site::kO)];
  const int32_t width = config_.heads * config_.head_dim;
  const AdapterSegments adapters = site_segments(layer, Site::kO);
  const Activations in = activations(o);
  program_.add<QuantizeShrinkArgs>(ops_.quantize_shrink,
                                   {block_of(scratch_.heads, width), width, rows(), o.input, in, adapters});
  add_block_output(layer, in, Site::kO, config_.attention_norms.after, adapters);
}

void Graph::gate_up(int32_t layer) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const Matrix& gate_up = *weights.products[static_cast<size_t>(Site::kGateUp)];
  const AdapterSegments adapters = site_segments(layer, Site::kGateUp);
  const Activations in = activations(gate_up);
  normalize(layer, config_.feed_forward_norms.before, gate_up.input, in, adapters);
  const BackendVector& bias = weights.biases[static_cast<size_t>(Site::kGateUp)];
  program_.add_with_own<&MatmulExpandArgs::y>(
      ops_.matmul_expand, product(in, gate_up, bias, nullptr, gate_up_values(), gate_up.rows, adapters));
}

void Graph::down(int32_t layer) {
  const Matrix& down = *weights_.layers[static_cast<size_t>(layer)].products[static_cast<size_t>(Site::kDown)];
  const AdapterSegments adapters = site_segments(layer, Site::kDown);
  const Activations in = activations(down);
  program_.add_with_own<&GluQuantizeShrinkArgs::gate_up>(
      ops_.glu_quantize_shrink, GluQuantizeShrinkArgs{gate_up_values(), 2 * config_.intermediate_size, rows(), config_.activation,
                                                      down.input, in, adapters});
  add_block_output(layer, in, Site::kDown, config_.feed_forward_norms.after, adapters);
}

void Graph::logits(const std::vector<int32_t>& rows) {
  const auto count = static_cast<int32_t>(rows.size());
  auto* index = program_.allocate<int32_t>(rows.size());
  std::copy(rows.begin(), rows.end(), index);

  // The batch's segments, as seen from the chosen rows.
  std::vector<RowSegment> segments;
  for (int32_t i = 0; i < count; ++i) {
    const auto found = std::find_if(batch_.segments.begin(), batch_.segments.end(), [&](const RowSegment& segment) {
      return index[i] >= segment.begin && index[i] < segment.end;
    });
    if (found == batch_.segments.end()) continue;
    if (!segments.empty() && segments.back().end == i && segments.back().composition == found->composition)
      segments.back().end = i + 1;
    else
      segments.push_back({i, i + 1, found->composition});
  }
  const AdapterSegments adapters = describe(
      segments, {0, count},
      [](const Composition& composition, int32_t, Site) -> const SitePlan& { return composition.lm_head(); }, 0, Site::kQkv);

  const Matrix& base = *weights_.lm_head;
  const Activations in = activations(base);
  program_.add<RmsNormQuantizeShrinkArgs>(
      ops_.rmsnorm_quantize_shrink, {scratch_.x.as<float>(), config_.hidden_size, index, count, weights_.final_norm.data(),
                                     config_.norm_epsilon, base.input, in, adapters});

  // One product for each run of rows that has the same head.
  float* logits = scratch_.logits.as<float>();
  const auto head_of = [&](int32_t row) -> const Matrix* {
    for (const RowSegment& segment : segments)
      if (row >= segment.begin && row < segment.end && segment.composition->lm_head_weight() != nullptr)
        return segment.composition->lm_head_weight();
    return &base;
  };
  for (int32_t begin = 0; begin < count;) {
    const Matrix* head = head_of(begin);
    int32_t end = begin + 1;
    while (end < count && head_of(end) == head) ++end;
    program_.add<MatmulExpandArgs>(ops_.matmul_expand, {in, head, begin, end, nullptr, nullptr, logits,
                                                       config_.vocabulary_size, adapters});
    begin = end;
  }
}

const LogitsRow* Graph::candidates(const std::vector<LogitsRow>& rows) {
  auto* asked = program_.allocate<LogitsRow>(rows.size());
  const auto groups = static_cast<size_t>(logit_groups(config_.vocabulary_size));
  const auto blocks = static_cast<size_t>(logit_blocks(config_.vocabulary_size));
  for (size_t i = 0; i < rows.size(); ++i) {
    asked[i] = rows[i];
    asked[i].summary = program_.allocate<LogitsSummary>(1);
    asked[i].candidates = program_.allocate<LogitCandidate>(static_cast<size_t>(rows[i].candidate_limit));
    asked[i].group_peaks = program_.allocate<float>(groups);
    asked[i].sorted_peaks = program_.allocate<float>(groups);
    asked[i].blocks = program_.allocate<LogitsBlock>(blocks);
  }
  const LogitsCandidatesArgs args{asked, static_cast<int32_t>(rows.size()), config_.vocabulary_size};
  program_.add<LogitsCandidatesArgs>(ops_.logits_blocks, args);
  program_.add<LogitsCandidatesArgs>(ops_.logits_candidates, args);
  return asked;
}

}  // namespace lowrank
