// Which kernel multiplies weights and activations of what formats: a table of each instruction set, so that a pair that it lacks is
// refused by name before anything is packed, and never read as another.
#pragma once

#include "ops/matmul_expand.h"

namespace lowrank {

class MatmulKernels {
 public:
  using Kernel = Op<MatmulExpandArgs>;

  constexpr Kernel& of(WeightFormat weights, ActivationFormat activations) {
    return kernels_[static_cast<int>(weights)][static_cast<int>(activations)];
  }
  // Null: there is none.
  constexpr Kernel find(const QuantScheme& scheme) const {
    return kernels_[static_cast<int>(scheme.weights)][static_cast<int>(scheme.activations)];
  }
  bool operator==(const MatmulKernels&) const = default;

 private:
  Kernel kernels_[kWeightFormats][kActivationFormats] = {};
};

}  // namespace lowrank
