// What a rank-16 adapter on all seven projections costs a layer: fused into the quantise and product ops, as the engine runs it,
// and as separate passes.
#pragma once

#include <cstdint>

namespace lowrank::bench {

struct AdapterCost {
  double none_us;     // one layer's quantise and product ops, without an adapter
  double fused_us;    // the same with the adapter in them
  double unfused_us;  // the same, then A x, B h and the addition as passes of their own
};

// Medians for `rows` tokens in SmolLM2-135M's shapes; attention is left out.
AdapterCost measure_adapter_cost(int32_t rows, int threads);

}  // namespace lowrank::bench
