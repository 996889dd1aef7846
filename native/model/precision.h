// What a precision stands for: a format for each matrix of a model, for keys and values, and for A and B. A preset: each of the three
// can be chosen by itself.
#pragma once

#include <array>
#include <cstdint>

#include "decoder/anatomy.h"
#include "ops/rope_write_kv.h"
#include "quant/scheme.h"

namespace lowrank {

enum class Precision : uint8_t {
  kInt8,       // int8 weights, int8 activations
  kW8Float32,  // int8 weights dequantised, float32 activations, KV cache, A and B: proves the graph apart from W8A8
  kFloat32,    // everything float32
};

// The format of each matrix. What a scheme has of rotation, smoothing and outliers is found by the calibration.
struct WeightSchemes {
  std::array<QuantScheme, kSites> sites;  // of each layer: q|k|v, o, gate|up, down
  QuantScheme lm_head;                    // of the embedding, too, where they are tied
  QuantScheme embed_tokens;               // where it is only gathered from

  bool operator==(const WeightSchemes&) const = default;
};

WeightSchemes weight_schemes(Precision precision);
KvFormat kv_format(Precision precision);
LoraDType lora_dtype(Precision precision);

// Whether anything of them is found by the calibration.
bool is_calibrated(const WeightSchemes& schemes);
// Changes `change` in all that the calibration decides: rotated, smoothed, outliers, and the group.
template <class Change>
void for_each_scheme(WeightSchemes& schemes, Change change) {
  for (QuantScheme& scheme : schemes.sites) change(scheme);
  change(schemes.lm_head);
  change(schemes.embed_tokens);
}

}  // namespace lowrank
