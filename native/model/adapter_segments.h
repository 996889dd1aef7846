// The adapters of a batch's rows, as the ops of one product read them.
#pragma once

#include <functional>
#include <vector>

#include "backend/program.h"
#include "model/batch.h"
#include "model/scratch.h"

namespace lowrank {

using PlanOf = std::function<const SitePlan&(const Composition&)>;

// Describes the segments that do something at this place to rows of `window`, which are counted from its first row; all other rows run
// as the base. The descriptors lie in the program until it is cleared.
AdapterSegments adapter_segments(Program& program, const Scratch& scratch, const std::vector<RowSegment>& segments, Range window,
                                 const PlanOf& plan_of);

}  // namespace lowrank
