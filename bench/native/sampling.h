// What a token costs beside its logits.
#pragma once

#include <cstdint>

namespace lowrank::bench {

// Prints, for several sampling options, the microseconds of the ops that read a row of logits and of the draw behind them.
void measure_sampling(int32_t vocabulary, int threads);

}  // namespace lowrank::bench
