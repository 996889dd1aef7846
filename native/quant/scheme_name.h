// Names of schemes, for messages and file names.
#pragma once

#include <string>

#include "quant/scheme.h"

namespace lowrank {

// "int8-int8-g128-rotated-smoothed-outliers8": of a file's name, and of messages.
inline std::string scheme_name(const QuantScheme& scheme) {
  std::string name = std::string(format_name(scheme.weights)) + "-" + format_name(scheme.activations);
  if (scheme.activations != ActivationFormat::kInt8) return name;
  name += "-g" + std::to_string(scheme.group);
  if (scheme.rotated) name += "-rotated";
  if (scheme.smoothed) name += "-smoothed";
  if (scheme.outliers > 0) name += "-outliers" + std::to_string(scheme.outliers);
  return name;
}

}  // namespace lowrank
