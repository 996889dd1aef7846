#include "model/adapter_segments.h"

#include <algorithm>

namespace lowrank {

AdapterSegments adapter_segments(Program& program, const Scratch& scratch, const std::vector<RowSegment>& segments, Range window,
                                 const PlanOf& plan_of) {
  AdapterSegments out;
  if (segments.empty()) return out;
  auto* rows = program.allocate<AdapterRows>(segments.size());
  for (const RowSegment& segment : segments) {
    const SitePlan& plan = plan_of(*segment.composition);
    const Range common = {std::max(segment.begin, window.begin), std::min(segment.end, window.end)};
    if (common.begin >= common.end || plan.empty()) continue;
    rows[out.count++] = {common.begin - window.begin,
                         common.end - window.begin,
                         plan.shrink.data(),
                         static_cast<int32_t>(plan.shrink.size()),
                         plan.expand.data(),
                         static_cast<int32_t>(plan.expand.size()),
                         plan.output_gain.data(),
                         plan.bias.data(),
                         plan.norm_gain};
  }
  out.rows = rows;
  out.h = scratch.h.as<float>() + int64_t{window.begin} * scratch.h_width;
  // The same for all adapters, so that a step's launches on a device do not depend on which there are.
  out.h_stride = scratch.h_width;
  return out;
}

}  // namespace lowrank
