#include <vector>

#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

void embed_gather(const EmbedGatherArgs& args, int part, int) {
  if (part != 0) return;
  const auto vocabulary = static_cast<size_t>(args.table->rows);
  const auto hidden = static_cast<size_t>(args.table->cols);
  HostCall call;
  EmbedGatherArgs there = args;
  there.x = call.in_out(args.x, static_cast<size_t>(args.rows) * hidden);
  std::vector<EmbeddingRows> segments(args.segments, args.segments + args.segment_count);
  std::vector<std::vector<EmbeddingTerm>> all_terms;
  for (EmbeddingRows& segment : segments) {
    auto& terms = all_terms.emplace_back(segment.terms, segment.terms + segment.term_count);
    for (EmbeddingTerm& term : terms) {
      term.a = call.in(term.a, vocabulary * static_cast<size_t>(term.rank));
      term.b = call.in(term.b, hidden * static_cast<size_t>(term.rank));
    }
    segment.terms = terms.data();
    segment.output_gain = call.in(segment.output_gain, hidden);
  }
  there.segments = segments.data();
  call.run([&] { device::embed_gather(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
