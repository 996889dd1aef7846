#include <cmath>

#include "cpu/reference/ops.h"

namespace lowrank::cpu::reference {

void rmsnorm_add(const RmsNormAddArgs& args, int part, int parts) {
  const Range rows = split(args.rows, 1, part, parts);
  for (int32_t m = rows.begin; m < rows.end; ++m) {
    const size_t begin = static_cast<size_t>(m) * static_cast<size_t>(args.width);
    const float* y = args.y + begin;
    float* x = args.x + begin;
    if (args.gain == nullptr) {
      for (int32_t k = 0; k < args.width; ++k)
        x[k] += args.multiplier * y[k];
      continue;
    }
    const bool own_gain = args.gain_rows != nullptr && args.gain_rows[m] != nullptr;
    const float* gain = own_gain ? args.gain_rows[m] : args.gain;
    const float mean = sum_of_squares(y, args.width) / static_cast<float>(args.width);
    const float factor = 1.0f / std::sqrt(mean + args.epsilon);
    for (int32_t k = 0; k < args.width; ++k)
      x[k] += args.multiplier * (y[k] * factor * gain[k]);
  }
}

}  // namespace lowrank::cpu::reference
