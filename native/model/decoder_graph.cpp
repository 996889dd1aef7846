#include "model/decoder_graph.h"

#include <algorithm>

#include "model/adapter_segments.h"

namespace lowrank {
namespace {

// Fewer rows in a block would read the weights for too little; more gain nothing.
constexpr int32_t kMinBlockRows = 32;
constexpr int32_t kMaxBlockRows = 48;
constexpr int32_t kBlockAlignment = 8;

}  // namespace

RowBlocks row_blocks(const Backend& backend, const ModelConfig& config, int32_t rows, int threads) {
  const size_t bytes = backend.row_block_bytes();
  if (bytes == 0 || rows < kMinBlockRows * std::max(threads, 2)) return {0, threads};
  const auto row_bytes = static_cast<size_t>(config.rows(Site::kGateUp)) * sizeof(float);
  const auto fit = static_cast<int32_t>(std::min(bytes / row_bytes, size_t{kMaxBlockRows}));
  // With two blocks more than threads nobody waits for a neighbour.
  const int32_t share = round_up(rows / (threads + 2), kBlockAlignment);
  return {std::max(std::min(fit, share) / kBlockAlignment * kBlockAlignment, kMinBlockRows), threads};
}

void DecoderGraph::embed() {
  EmbedGatherArgs args{};
  args.tokens = at_.batch.tokens.data();
  args.rows = at_.batch.rows();
  args.table = at_.weights.embed_tokens.get();
  args.multiplier = at_.config.embedding_multiplier;
  args.x = at_.scratch.x.as<float>();
  auto* rows = at_.program.allocate<EmbeddingRows>(at_.batch.segments.size());
  for (const RowSegment& segment : at_.batch.segments) {
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
  at_.program.add<EmbedGatherArgs>(at_.ops.embed_gather, args);
  recorder_.angles();
}

void DecoderGraph::layers(const RowBlocks& blocks) {
  if (blocks.rows > 0 && blocks.rows < at_.batch.rows()) {
    layers_in_blocks(blocks);
    return;
  }
  recorder_.share_attention(blocks.threads);
  for (int32_t layer = 0; layer < at_.config.layer_count; ++layer) {
    recorder_.begin_layer(layer);
    at_.config.layer.to_keys(recorder_);
    at_.config.layer.from_attention(recorder_);
  }
}

// A chain takes a block from one layer's keys and values to the next one's. Its attention reads the keys of the blocks before it; the
// block behind it must have written its own, too, for they may lie in the same page.
void DecoderGraph::layers_in_blocks(const RowBlocks& row_blocks) {
  const int32_t rows = at_.batch.rows(), layers = at_.config.layer_count;
  Program& program = at_.program;
  at_.scratch.reserve_thread_gate_up(row_blocks.rows, row_blocks.threads);
  program.set_thread_bytes(sizeof(float) * static_cast<size_t>(row_blocks.rows) * static_cast<size_t>(at_.scratch.gate_up_width));
  const auto blocks = static_cast<size_t>((rows + row_blocks.rows - 1) / row_blocks.rows);
  for (int32_t layer = -1; layer < layers; ++layer) {
    const size_t before = static_cast<size_t>(layer + 1) * blocks;  // chains of the layers before
    for (size_t i = 0; i < blocks; ++i) {
      const int32_t begin = static_cast<int32_t>(i) * row_blocks.rows;
      recorder_.set_rows({begin, std::min(begin + row_blocks.rows, rows)});
      program.begin_chain(layer < 0 ? 0 : std::min(before - blocks + i + 2, before));
      if (layer >= 0) {
        recorder_.begin_layer(layer);
        at_.config.layer.from_attention(recorder_);
      }
      if (layer + 1 < layers) {
        recorder_.begin_layer(layer + 1);
        at_.config.layer.to_keys(recorder_);
      }
      program.end_chain();
    }
  }
  recorder_.set_rows({0, rows});
}

std::vector<RowSegment> DecoderGraph::segments_of(const int32_t* rows, int32_t count) const {
  std::vector<RowSegment> segments;
  for (int32_t i = 0; i < count; ++i) {
    const auto found = std::find_if(at_.batch.segments.begin(), at_.batch.segments.end(), [&](const RowSegment& segment) {
      return rows[i] >= segment.begin && rows[i] < segment.end;
    });
    if (found == at_.batch.segments.end()) continue;
    if (!segments.empty() && segments.back().end == i && segments.back().composition == found->composition)
      segments.back().end = i + 1;
    else
      segments.push_back({i, i + 1, found->composition});
  }
  return segments;
}

void DecoderGraph::logits(const std::vector<int32_t>& rows) {
  const auto count = static_cast<int32_t>(rows.size());
  auto* index = at_.program.allocate<int32_t>(rows.size());
  std::copy(rows.begin(), rows.end(), index);
  const std::vector<RowSegment> segments = segments_of(index, count);
  const AdapterSegments adapters =
      adapter_segments(at_.program, at_.scratch, segments, {0, count},
                       [](const Composition& composition) -> const SitePlan& { return composition.lm_head(); });
  const Matrix& base = *at_.weights.lm_head;
  const Activations in = at_.scratch.activations(base, 0);
  recorder_.norm_head_input(index, count, base.input, in, adapters);

  // One product for each run of rows that has the same head.
  float* logits = at_.scratch.logits.as<float>();
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
    at_.program.add<MatmulExpandArgs>(at_.ops.matmul_expand, {in, head, begin, end, nullptr, nullptr, logits,
                                                              at_.config.vocabulary_size, adapters, at_.config.logits_soft_cap});
    begin = end;
  }
}

const LogitsRow* DecoderGraph::candidates(const std::vector<LogitsRow>& rows) {
  auto* asked = at_.program.allocate<LogitsRow>(rows.size());
  const auto groups = static_cast<size_t>(logit_groups(at_.config.vocabulary_size));
  const auto blocks = static_cast<size_t>(logit_blocks(at_.config.vocabulary_size));
  for (size_t i = 0; i < rows.size(); ++i) {
    asked[i] = rows[i];
    asked[i].summary = at_.program.allocate<LogitsSummary>(1);
    asked[i].candidates = at_.program.allocate<LogitCandidate>(static_cast<size_t>(rows[i].candidate_limit));
    asked[i].group_peaks = at_.program.allocate<float>(groups);
    asked[i].sorted_peaks = at_.program.allocate<float>(groups);
    asked[i].blocks = at_.program.allocate<LogitsBlock>(blocks);
  }
  const LogitsCandidatesArgs args{asked, static_cast<int32_t>(rows.size()), at_.config.vocabulary_size};
  at_.program.add<LogitsCandidatesArgs>(at_.ops.logits_blocks, args);
  at_.program.add<LogitsCandidatesArgs>(at_.ops.logits_candidates, args);
  return asked;
}

}  // namespace lowrank
