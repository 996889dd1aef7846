#include "device/params/embed_gather.h"

#include "device/ops.h"
#include "device/staging.h"
#include "device/storage.h"

namespace lowrank::device {
namespace {

constexpr size_t kFewSegments = 4;
constexpr size_t kFewTerms = 8;

EmbeddingTable view_of_table(const lowrank::Matrix& table) { return {view_of(table), view_of(table.input)}; }

// Three blocks: segments, their terms, and the segment of each row.
void stage_embedding_rows(Recorder& recorder, const EmbedGatherArgs& args, EmbedGatherParams& params) {
  size_t terms = 0;
  for (int32_t i = 0; i < args.segment_count; ++i) terms += static_cast<size_t>(args.segments[i].term_count);
  const auto segment_of_row = recorder.stage<int32_t>(static_cast<size_t>(args.rows));
  const auto segments = recorder.stage<EmbeddingRows>(room_for(static_cast<size_t>(args.segment_count), kFewSegments));
  const auto all_terms = recorder.stage<EmbeddingTerm>(room_for(terms, kFewTerms));
  std::fill_n(segment_of_row.host, args.rows, -1);
  size_t next = 0;
  for (int32_t i = 0; i < args.segment_count; ++i) {
    const lowrank::EmbeddingRows& in = args.segments[i];
    EmbeddingRows& out = segments.host[i];
    out = {};
    if (in.table != nullptr) out.table = view_of_table(*in.table);
    out.terms = all_terms.device + next;
    out.term_count = in.term_count;
    out.output_gain = in.output_gain;
    for (int32_t t = 0; t < in.term_count; ++t)
      all_terms.host[next++] = {in.terms[t].a, in.terms[t].b, in.terms[t].rank, in.terms[t].scale};
    std::fill(segment_of_row.host + in.row_begin, segment_of_row.host + in.row_end, i);
  }
  params.segments = segments.device;
  params.segment_of_row = segment_of_row.device;
}

}  // namespace

void embed_gather(const EmbedGatherArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  EmbedGatherParams params = {};
  params.tokens = recorder.upload(args.tokens, static_cast<size_t>(args.rows));
  params.table = view_of_table(*args.table);
  params.x = args.x;
  params.rows = args.rows;
  params.multiplier = args.multiplier;
  if (args.segment_count > 0) stage_embedding_rows(recorder, args, params);
  recorder.add(OpCode::kEmbedGather, params);
}

}  // namespace lowrank::device
