// DoRA's norms (arXiv 2402.09353) as functions of the request's scale.
//
// PEFT: y = g * (W x + t s B A x) + bias with g = m / |W + t s B A| per output row. The norm is kept as a polynomial in
// t s, so that one loaded adapter serves every scale.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "lora/adapter.h"
#include "lora/adapter_tensors.h"

namespace lowrank {

// a [rank, in] and b [out, rank] as the ops will multiply them (rounded to the lora dtype); `read_weight` gives rows of
// W [out, in] as the engine holds them and is called from up to `threads` threads. B A is summed in float32,
// the norms in float64. Holds a block of at most 1 MiB of W (or one row) for each thread. What `read_weight` throws is
// thrown here.
DoraNorms dora_norms(const FloatMatrix& a, const FloatMatrix& b, std::vector<float> magnitude, const RowReader& read_weight,
                     int threads);

// gain[n] = m / sqrt(n0 + 2 scale n1 + scale^2 n2) to gain [out]; `scale` is t s. A row whose norm is zero gets 0: its
// product is zero.
void dora_gain(const DoraNorms& norms, float scale, float* gain);

}  // namespace lowrank
