#include "model/precision.h"

#include <algorithm>

namespace lowrank {
namespace {

// Channels kept in bfloat16 beside each product: 2.4 % of SmolLM2's weight bytes.
constexpr int32_t kOutliers = 8;

bool is_calibrated(const QuantScheme& scheme) { return scheme.rotated || scheme.smoothed || scheme.outliers > 0; }

}  // namespace

WeightSchemes weight_schemes(Precision precision) {
  QuantScheme plain;
  plain.weights = precision == Precision::kFloat32 ? WeightFormat::kFloat32 : WeightFormat::kInt8;
  plain.activations = precision == Precision::kInt8 ? ActivationFormat::kInt8 : ActivationFormat::kFloat32;
  QuantScheme product = plain;
  if (precision == Precision::kInt8) {
    product.rotated = true;
    product.smoothed = true;
    product.outliers = kOutliers;
  }
  WeightSchemes schemes;
  schemes.sites.fill(product);
  schemes.lm_head = product;
  schemes.embed_tokens = plain;
  return schemes;
}

KvFormat kv_format(Precision precision) { return precision == Precision::kInt8 ? KvFormat::kBFloat16 : KvFormat::kFloat32; }

LoraDType lora_dtype(Precision precision) { return precision == Precision::kInt8 ? LoraDType::kBFloat16 : LoraDType::kFloat32; }

bool is_calibrated(const WeightSchemes& schemes) {
  return is_calibrated(schemes.lm_head) ||
         std::any_of(schemes.sites.begin(), schemes.sites.end(), [](const QuantScheme& scheme) { return is_calibrated(scheme); });
}

}  // namespace lowrank
