// Sums over whole rows of logits in float64, in one order on every processor.
#pragma once

#include <cstdint>

namespace lowrank {

// The id of the highest logit, of equals the lowest; -1 where a logit is NaN or the highest is infinite.
int32_t most_likely(const float* logits, int32_t count);

// weights[i] = e^(logits[i] - peak), none above 1; returns their sum.
double exponentials(const float* logits, int32_t count, float peak, double* weights);

// Sum of weights[i] (a[i] - b[i]), where the weight is above 0.
double weighted_difference(const double* weights, const float* a, const float* b, int32_t count);

}  // namespace lowrank
