#include "lora/rounded_factor.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/float16.h"
#include "quant/int8.h"

namespace lowrank {
namespace {

[[noreturn]] void out_of_range(const std::string& format, const std::string& tensor) {
  throw Error(ErrorCode::kAdapterFormat, "Expected numbers within " + format + "'s range for the adapter's tensor " + tensor +
                                             ", received a larger one. The file is damaged or its training diverged.");
}

void round_to_bfloat16(FloatMatrix& matrix, const std::string& tensor) {
  for (float& value : matrix.values) value = bfloat16_to_float32(float32_to_bfloat16(value));
  if (max_magnitude_bits(matrix.values.data(), static_cast<int64_t>(matrix.values.size())) >= kInfinityBits)
    out_of_range("bfloat16", tensor);
}

// Makes integers of values[r * rank_stride + i * stride], i < count, for each rank r. Returns the scales.
std::vector<float> quantize_ranks(std::vector<float>& values, int32_t ranks, size_t rank_stride, int32_t count, size_t stride) {
  std::vector<float> scale;
  std::vector<float> line(static_cast<size_t>(count));
  std::vector<int8_t> q(static_cast<size_t>(count));
  for (size_t r = 0; r < static_cast<size_t>(ranks); ++r) {
    float* const first = values.data() + r * rank_stride;
    for (size_t i = 0; i < line.size(); ++i) line[i] = first[i * stride];
    scale.push_back(quantize_weights_int8(line.data(), count, ScaleFormat::kFloat32, q.data()));
    for (size_t i = 0; i < line.size(); ++i) first[i * stride] = q[i];
  }
  return scale;
}

}  // namespace

RoundedFactor round_a(FloatMatrix a, LoraDType dtype, const std::string& tensor) {
  RoundedFactor out{std::move(a), {}};
  FloatMatrix& values = out.values;
  if (dtype == LoraDType::kBFloat16) round_to_bfloat16(values, tensor);
  if (dtype == LoraDType::kInt8)
    out.scale = quantize_ranks(values.values, values.rows, static_cast<size_t>(values.cols), values.cols, 1);
  return out;
}

RoundedFactor round_b(FloatMatrix b, LoraDType dtype, const std::string& tensor) {
  RoundedFactor out{std::move(b), {}};
  FloatMatrix& values = out.values;
  if (dtype == LoraDType::kBFloat16) round_to_bfloat16(values, tensor);
  if (dtype == LoraDType::kInt8)
    out.scale = quantize_ranks(values.values, values.cols, 1, values.rows, static_cast<size_t>(values.cols));
  return out;
}

std::vector<float> rank_scale(const RoundedFactor& a, const RoundedFactor& b, const std::string& tensor) {
  std::vector<float> product(a.scale);
  for (size_t r = 0; r < product.size(); ++r) {
    product[r] *= b.scale[r];
    if (!std::isfinite(product[r])) out_of_range("float32", tensor);
  }
  return product;
}

FloatMatrix a_times_scale(const RoundedFactor& a) {
  FloatMatrix out = a.values;
  for (size_t i = 0; !a.scale.empty() && i < out.values.size(); ++i)
    out.values[i] *= a.scale[i / static_cast<size_t>(out.cols)];
  return out;
}

FloatMatrix b_times_scale(const RoundedFactor& b) {
  FloatMatrix out = b.values;
  for (size_t i = 0; !b.scale.empty() && i < out.values.size(); ++i)
    out.values[i] *= b.scale[i % static_cast<size_t>(out.cols)];
  return out;
}

}  // namespace lowrank
