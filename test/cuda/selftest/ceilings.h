// What this GPU can do at most, by kernels that do one thing alone: the measure that benchmarks are held against.
#pragma once

#include <vector>

#include "selftest/device.h"

namespace lowrank::selftest {

struct Ceiling {
  const char* name;
  const char* unit;
  double value;  // the best of several measurements
};

// `quick`: work so small that the figures mean nothing, to see that the kernels run.
std::vector<Ceiling> measure_ceilings(Device& device, bool quick);

}  // namespace lowrank::selftest
