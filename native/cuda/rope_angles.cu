// See RopeAnglesArgs of ops/rope_write_kv.h. A thread an angle. In float64, in few operations: once a step, and angles reach
// 10^5, where a float32 reduction to a quadrant has no digit left.
#include <cmath>

#include "cuda/rope_write_kv.h"

namespace lowrank::cuda {
namespace {

constexpr int32_t kThreads = 128;

struct Angle {
  double cosine;
  double sine;
};

// r = x - n pi / 2 in [-pi / 4, pi / 4], pi / 2 in two parts, each product exact before it is subtracted; then the Taylor series
// of both up to r^13 and r^14, whose rests are below 2^-45, and the turn by n quarters.
LOWRANK_DEVICE Angle angle_of(double x) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  constexpr double kHalfPiHigh = 0x1.921fb54442d18p+0;
  constexpr double kHalfPiLow = 0x1.1a62633145c07p-54;
  const double n = rint(x * kTwoOverPi);
  const double r = fma(-n, kHalfPiLow, fma(-n, kHalfPiHigh, x));
  const double r2 = r * r;
  double s = 1.0 / 6227020800.0;
  s = fma(s, r2, -1.0 / 39916800.0);
  s = fma(s, r2, 1.0 / 362880.0);
  s = fma(s, r2, -1.0 / 5040.0);
  s = fma(s, r2, 1.0 / 120.0);
  s = fma(s, r2, -1.0 / 6.0);
  s = fma(s * r2, r, r);
  double c = -1.0 / 87178291200.0;
  c = fma(c, r2, 1.0 / 479001600.0);
  c = fma(c, r2, -1.0 / 3628800.0);
  c = fma(c, r2, 1.0 / 40320.0);
  c = fma(c, r2, -1.0 / 720.0);
  c = fma(c, r2, 1.0 / 24.0);
  c = fma(c, r2, -0.5);
  c = fma(c, r2, 1.0);
  const auto quarter = static_cast<int64_t>(n) & 3;
  const double cosine = (quarter & 1) != 0 ? s : c;
  const double sine = (quarter & 1) != 0 ? c : s;
  return {quarter == 1 || quarter == 2 ? -cosine : cosine, quarter >= 2 ? -sine : sine};
}

LOWRANK_KERNEL(kThreads, 4) rope_angles(device::RopeAnglesParams params) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= int64_t{params.rows} * params.half_dim) return;
  const int64_t row = index / params.half_dim;
  const float angle = static_cast<float>(params.positions[row]) * params.frequencies[index - row * params.half_dim];
  const Angle result = angle_of(double{angle});
  params.cosine[index] = static_cast<float>(result.cosine) * params.attention_factor;
  params.sine[index] = static_cast<float>(result.sine) * params.attention_factor;
}

}  // namespace

void enqueue(Launches& launches, const device::RopeAnglesParams& params) {
  const int64_t angles = int64_t{params.rows} * params.half_dim;
  if (angles == 0) return;
  launches.add(rope_angles, dim3(static_cast<unsigned>((angles + kThreads - 1) / kThreads)), dim3(kThreads), 0, params);
}

}  // namespace lowrank::cuda
