#include "engine/distribution_sums.h"

#include <cmath>

#include "engine/exponential.h"

namespace lowrank {
namespace {

constexpr int32_t kLanes = 64;  // loops that are longer than compilers unroll whole

}  // namespace

int32_t most_likely(const float* logits, int32_t count) {
  float largest[kLanes];
  uint32_t nan[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    largest[i] = logits[0];
    nan[i] = 0;
  }
  int32_t begin = 0;
  for (; begin + kLanes <= count; begin += kLanes)
    for (int i = 0; i < kLanes; ++i) {
      const float logit = logits[begin + i];
      largest[i] = logit > largest[i] ? logit : largest[i];
      nan[i] |= logit != logit ? 1u : 0u;
    }
  for (int32_t rest = begin; rest < count; ++rest) {
    largest[0] = logits[rest] > largest[0] ? logits[rest] : largest[0];
    nan[0] |= std::isnan(logits[rest]) ? 1u : 0u;
  }
  for (int i = 1; i < kLanes; ++i) {
    largest[0] = largest[i] > largest[0] ? largest[i] : largest[0];
    nan[0] |= nan[i];
  }
  if (nan[0] != 0 || !std::isfinite(largest[0])) return -1;
  int32_t id = 0;
  while (logits[id] != largest[0]) ++id;
  return id;
}

double exponentials(const float* logits, int32_t count, float peak, double* weights) {
  double sums[kLanes] = {};
  for (int32_t begin = 0; begin < count; begin += kLanes) {
    const int lanes = count - begin < kLanes ? static_cast<int>(count - begin) : kLanes;
    double e[kLanes] = {};
    for (int i = 0; i < lanes; ++i) e[i] = static_cast<double>(logits[begin + i]) - static_cast<double>(peak);
    for (int i = 0; i < kLanes; ++i) e[i] = exp_of_negative(e[i]);
    for (int i = lanes; i < kLanes; ++i) e[i] = 0;
    for (int i = 0; i < lanes; ++i) weights[begin + i] = e[i];
    for (int i = 0; i < kLanes; ++i) sums[i] += e[i];
  }
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += sums[i];
  return sum;
}

double weighted_difference(const double* weights, const float* a, const float* b, int32_t count) {
  double sums[kLanes] = {};
  for (int32_t begin = 0; begin < count; begin += kLanes) {
    const int lanes = count - begin < kLanes ? static_cast<int>(count - begin) : kLanes;
    for (int i = 0; i < lanes; ++i) {
      const double weight = weights[begin + i];
      const double product = weight * (static_cast<double>(a[begin + i]) - static_cast<double>(b[begin + i]));
      // Not zero times minus infinity.
      sums[i] += weight > 0 ? product : 0;
    }
  }
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += sums[i];
  return sum;
}

}  // namespace lowrank
