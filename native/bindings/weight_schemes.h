// The formats that a model is loaded in.
#pragma once

#include "model/precision.h"

namespace lowrank::bindings {

// Those of the precision. The environment variable LOWRANK_SCALE_GROUP, where it is set, gives the size of int8's scale groups, to measure
// what another size is worth. Throws Error(kInvalidArgument) where it is no size of groups.
WeightSchemes schemes_of(Precision precision);

}  // namespace lowrank::bindings
