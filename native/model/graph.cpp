#include "model/graph.h"

#include <algorithm>

namespace lowrank {
namespace {

// From so many rows on, an op takes long enough that its parts are worth sharing out as threads get free.
constexpr int32_t kSharedRows = 32;
constexpr int kSharedParts = 3;

constexpr int64_t kFloat = sizeof(float);
constexpr int32_t kHAlignment = 4;  // so that each row begins at a multiple of 16 bytes

}  // namespace

void Batch::clear() {
  tokens.clear();
  positions.clear();
  block_tables.clear();
  segments.clear();
}

Scratch::Scratch(const Backend& backend, const ModelConfig& config, int32_t rows, int32_t logit_rows)
    : max_rows(rows), max_logit_rows(logit_rows), backend_(backend) {
  const int32_t qkv = site_rows(config, Site::kQkv);
  const int32_t gate_up = site_rows(config, Site::kGateUp);
  const int32_t attention = config.heads * config.head_dim;
  const int32_t widest = std::max({config.hidden_size, config.intermediate_size, attention});
  const int64_t m = rows;
  const int32_t stride = round_up(widest, kActivationAlignment);
  x = zeros(kFloat * m * config.hidden_size);
  y = zeros(kFloat * m * config.hidden_size);
  wide = zeros(kFloat * m * std::max(qkv, gate_up));
  heads = zeros(kFloat * m * attention);
  q = zeros(m * stride);
  scale = zeros(kFloat * m * scale_groups(widest));
  compensation = zeros(kFloat * m * scale_groups(widest));
  outliers = zeros(kFloat * m * kMaxOutliers);
  values = zeros(kFloat * m * stride);
  angles = zeros(kFloat * m * config.head_dim * static_cast<int64_t>(config.ropes.size()));
  logits = zeros(kFloat * logit_rows * config.vocabulary_size);
}

BackendMemory Scratch::zeros(int64_t bytes) const {
  return backend_.reserve(static_cast<size_t>(bytes), Buffer::Pages::kSmall);
}

void Scratch::reserve_h(int32_t width) {
  if (width <= h_width) return;
  h_width = round_up(width, kHAlignment);
  h = zeros(kFloat * max_rows * h_width);
}

size_t Scratch::bytes() const {
  size_t all = 0;
  for (const BackendMemory* memory :
       {&x, &y, &wide, &heads, &q, &scale, &compensation, &outliers, &values, &angles, &h, &logits})
    all += memory->bytes();
  return all;
}

Graph::Graph(Program& program, const OpTable& ops, const ModelConfig& config, const Weights& weights, const KvCache& cache,
             Scratch& scratch, const Batch& batch)
    : program_(program), ops_(ops), config_(config), weights_(weights), cache_(cache), scratch_(scratch), batch_(batch),
      rows_(batch.rows()) {
  program_.set_parts_per_thread(rows_ >= kSharedRows ? kSharedParts : 1);
  for (const RowSegment& segment : batch.segments) scratch_.reserve_h(segment.composition->max_h_width());
}

const float* Graph::gain(int32_t layer, LayerNorm norm) const {
  return weights_.layers[static_cast<size_t>(layer)].norms[static_cast<size_t>(norm)].data();
}

// Descriptors of the segments that do something at this place; rows of the others run as the base.
AdapterSegments Graph::describe(const std::vector<RowSegment>& segments,
                                const SitePlan& (*plan)(const Composition&, int32_t, Site), int32_t layer, Site site) {
  AdapterSegments out;
  if (segments.empty()) return out;
  auto* rows = program_.allocate<AdapterRows>(segments.size());
  for (const RowSegment& segment : segments) {
    const SitePlan& at = plan(*segment.composition, layer, site);
    if (at.empty()) continue;
    rows[out.count++] = {segment.begin,
                         segment.end,
                         at.shrink.data(),
                         static_cast<int32_t>(at.shrink.size()),
                         at.expand.data(),
                         static_cast<int32_t>(at.expand.size()),
                         at.output_gain.data(),
                         at.bias.data(),
                         at.norm_gain};
  }
  out.rows = rows;
  out.h = scratch_.h.as<float>();
  // The same for all adapters, so that a step's launches on a device do not depend on which there are.
  out.h_stride = scratch_.h_width;
  return out;
}

AdapterSegments Graph::site_segments(int32_t layer, Site site) {
  return describe(
      batch_.segments,
      [](const Composition& composition, int32_t at, Site which) -> const SitePlan& { return composition.site(at, which); },
      layer, site);
}

const float* const* Graph::norm_rows(int32_t layer, LayerNorm norm) {
  const float** gains = nullptr;
  for (const RowSegment& segment : batch_.segments) {
    const float* replaced = segment.composition->norm(layer, norm);
    if (replaced == nullptr) continue;
    if (gains == nullptr) {
      gains = program_.allocate<const float*>(static_cast<size_t>(rows_));
      std::fill(gains, gains + rows_, gain(layer, norm));
    }
    std::fill(gains + segment.begin, gains + segment.end, replaced);
  }
  return gains;
}

Activations Graph::activations(const Matrix& matrix) {
  Activations out;
  out.format = matrix.activation;
  out.cols = matrix.cols;
  out.stride = round_up(matrix.cols, kActivationAlignment);
  out.q = scratch_.q.as<int8_t>();
  out.scale = scratch_.scale.as<float>();
  out.compensation = scratch_.compensation.as<int32_t>();
  out.outliers = scratch_.outliers.as<float>();
  out.values = scratch_.values.as<float>();
  return out;
}

void Graph::product(const Activations& in, const Matrix& matrix, const BackendVector& bias, const float* residual,
                    float* y, int32_t y_stride, const AdapterSegments& adapters) {
  program_.add<MatmulExpandArgs>(
      ops_.matmul_expand, {in, &matrix, 0, rows_, bias.data(), residual, y, y_stride, adapters});
}

void Graph::embed() {
  EmbedGatherArgs args{};
  args.tokens = batch_.tokens.data();
  args.rows = rows_;
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
                                 {batch_.positions.data(), rows_, weights_.rope_frequencies[i].data(), half,
                                  rope.attention_factor, cosine, cosine + int64_t{scratch_.max_rows} * half});
  }
}

// x += W in, or x += norm(W in).
void Graph::add_block_output(int32_t layer, const Activations& in, Site site, std::optional<LayerNorm> norm,
                             const AdapterSegments& adapters) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const Matrix& matrix = *weights.products[static_cast<size_t>(site)];
  const auto& bias = weights.biases[static_cast<size_t>(site)];
  float* x = scratch_.x.as<float>();
  if (!norm) {
    product(in, matrix, bias, x, x, config_.hidden_size, adapters);
    return;
  }
  float* y = scratch_.y.as<float>();
  product(in, matrix, bias, nullptr, y, config_.hidden_size, adapters);
  program_.add<RmsNormAddArgs>(ops_.rmsnorm_add, {y, x, rows_, config_.hidden_size, gain(layer, *norm), config_.norm_epsilon,
                                                  norm_rows(layer, *norm)});
}

void Graph::normalize(int32_t layer, LayerNorm norm, const InputTransform& input, const Activations& out,
                      const AdapterSegments& adapters) {
  program_.add<RmsNormQuantizeShrinkArgs>(ops_.rmsnorm_quantize_shrink,
                                          {scratch_.x.as<float>(), config_.hidden_size, nullptr, rows_, gain(layer, norm),
                                           config_.norm_epsilon, input, out, adapters});
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
                                        {scratch_.wide.as<float>(), 2 * config_.intermediate_size, rows_, config_.activation,
                                         {}, float_values(config_.intermediate_size), {}});
  else
    normalize(layer, site == Site::kQkv ? config_.attention_norms.before : config_.feed_forward_norms.before, {},
              float_values(config_.hidden_size), {});
}

void Graph::head_input_values() {
  program_.add<RmsNormQuantizeShrinkArgs>(ops_.rmsnorm_quantize_shrink,
                                          {scratch_.x.as<float>(), config_.hidden_size, nullptr, rows_,
                                           weights_.final_norm.data(), config_.norm_epsilon, {},
                                           float_values(config_.hidden_size), {}});
}

void Graph::layers() {
  for (int32_t layer = 0; layer < static_cast<int32_t>(config_.layers.size()); ++layer) {
    attention(layer);
    attention_output(layer);
    gate_up(layer);
    down(layer);
  }
}

void Graph::attention(int32_t layer) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const LayerConfig& layer_config = config_.layers[static_cast<size_t>(layer)];
  const Matrix& qkv = *weights.products[static_cast<size_t>(Site::kQkv)];
  const int32_t qkv_stride = qkv.rows;
  float* wide = scratch_.wide.as<float>();

  const AdapterSegments in_adapters = site_segments(layer, Site::kQkv);
  const Activations in = activations(qkv);
  normalize(layer, config_.attention_norms.before, qkv.input, in, in_adapters);
  product(in, qkv, weights.biases[static_cast<size_t>(Site::kQkv)], nullptr, wide, qkv_stride, in_adapters);

  const int32_t half = config_.head_dim / 2;
  const float* cosine = scratch_.angles.as<float>() + int64_t{2} * layer_config.rope * scratch_.max_rows * half;
  const auto& q_norm = weights.norms[static_cast<size_t>(LayerNorm::kQ)];
  const auto& k_norm = weights.norms[static_cast<size_t>(LayerNorm::kK)];
  const KvLayer cache = cache_.layer(layer);
  program_.add<RopeWriteKvArgs>(
      ops_.rope_write_kv,
      {wide, qkv_stride, rows_, config_.heads, config_.kv_heads, config_.head_dim, cosine,
       cosine + int64_t{scratch_.max_rows} * half, q_norm.data(), k_norm.data(),
       q_norm.empty() ? nullptr : norm_rows(layer, LayerNorm::kQ), k_norm.empty() ? nullptr : norm_rows(layer, LayerNorm::kK), config_.norm_epsilon, batch_.positions.data(),
       batch_.block_tables.data(), cache});

  program_.add<AttentionPagedArgs>(ops_.attention_paged,
                                   {wide, qkv_stride, rows_, config_.heads, config_.kv_heads, config_.head_dim,
                                    config_.attention_scale, layer_config.window, batch_.positions.data(),
                                    batch_.block_tables.data(), cache, scratch_.heads.as<float>(),
                                    config_.heads * config_.head_dim});
}

void Graph::attention_output(int32_t layer) {
  const Matrix& o = *weights_.layers[static_cast<size_t>(layer)].products[static_cast<size_t>(Site::kO)];
  const AdapterSegments adapters = site_segments(layer, Site::kO);
  const Activations in = activations(o);
  program_.add<QuantizeShrinkArgs>(ops_.quantize_shrink, {scratch_.heads.as<float>(), config_.heads * config_.head_dim, rows_,
                                                          o.input, in, adapters});
  add_block_output(layer, in, Site::kO, config_.attention_norms.after, adapters);
}

void Graph::gate_up(int32_t layer) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const Matrix& gate_up = *weights.products[static_cast<size_t>(Site::kGateUp)];
  const AdapterSegments adapters = site_segments(layer, Site::kGateUp);
  const Activations in = activations(gate_up);
  normalize(layer, config_.feed_forward_norms.before, gate_up.input, in, adapters);
  product(in, gate_up, weights.biases[static_cast<size_t>(Site::kGateUp)], nullptr, scratch_.wide.as<float>(), gate_up.rows,
          adapters);
}

void Graph::down(int32_t layer) {
  const Matrix& down = *weights_.layers[static_cast<size_t>(layer)].products[static_cast<size_t>(Site::kDown)];
  const AdapterSegments adapters = site_segments(layer, Site::kDown);
  const Activations in = activations(down);
  program_.add<GluQuantizeShrinkArgs>(ops_.glu_quantize_shrink, {scratch_.wide.as<float>(), 2 * config_.intermediate_size,
                                                                rows_, config_.activation, down.input, in, adapters});
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
      segments, [](const Composition& composition, int32_t, Site) -> const SitePlan& { return composition.lm_head(); }, 0,
      Site::kQkv);

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
