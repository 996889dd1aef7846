#include "bindings/weight_schemes.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace lowrank::bindings {

WeightSchemes schemes_of(Precision precision) {
  WeightSchemes schemes = weight_schemes(precision);
  const char* const asked = std::getenv("LOWRANK_SCALE_GROUP");
  if (asked == nullptr || *asked == '\0') return schemes;
  for (const int32_t group : {64, 128, 256}) {
    if (asked != std::to_string(group)) continue;
    for_each_scheme(schemes, [group](QuantScheme& scheme) { scheme.group = group; });
    return schemes;
  }
  throw Error(ErrorCode::kInvalidArgument,
              std::string("Expected 64, 128 or 256 for LOWRANK_SCALE_GROUP, received \"") + asked + "\". Unset it for the default, 128.");
}

}  // namespace lowrank::bindings
