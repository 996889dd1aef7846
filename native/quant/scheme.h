// The format of a weight matrix: how its weights are held, what the product reads its input as, and what both went through before
// they were quantised. What depends on a format asks here: the sizes of rows and scales, never an enumerator times a number of bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lowrank {

enum class WeightFormat : uint8_t {
  kInt8,      // symmetric int8; with int8 input a scale for each group of input channels of a row, else one for the row
  kBFloat16,  // bfloat16, for the few matrices that int8 would hurt
  kFloat32,
};
inline constexpr int kWeightFormats = 3;

// What a matrix product reads its input as.
enum class ActivationFormat : uint8_t {
  kInt8,  // symmetric int8, one dynamic float32 scale per row (token) and group of channels
  kFloat32,
};
inline constexpr int kActivationFormats = 2;

// Channels of one block of the rotation, see rotation.h. Rows are padded to it.
inline constexpr int32_t kRotationBlock = 64;

// Consecutive input channels that share a scale in an int8 product, on both sides: 64, 128 or 256, so that no block of the rotation lies
// in two groups and the sum of a group's products is below 2^22. The last group of a row may be shorter.
inline constexpr int32_t kMinScaleGroup = kRotationBlock;
inline constexpr int32_t kDefaultScaleGroup = 128;
inline constexpr int32_t kMaxScaleGroup = 256;
inline constexpr bool is_scale_group(int32_t group) {
  return group >= kMinScaleGroup && group <= kMaxScaleGroup && (group & (group - 1)) == 0;
}
inline constexpr int32_t scale_groups(int32_t cols, int32_t group) { return (cols + group - 1) / group; }

struct QuantScheme {
  WeightFormat weights = WeightFormat::kFloat32;
  ActivationFormat activations = ActivationFormat::kFloat32;
  // What follows is of int8 activations alone; see InputTransform.
  int32_t group = kDefaultScaleGroup;  // channels
  bool rotated = false;
  bool smoothed = false;
  int32_t outliers = 0;  // channels; of a narrow matrix there are fewer, see outlier_channels

  bool operator==(const QuantScheme&) const = default;
};

// Bits of one weight, scales apart.
inline constexpr int32_t weight_bits(WeightFormat format) {
  return format == WeightFormat::kInt8 ? 8 : format == WeightFormat::kBFloat16 ? 16 : 32;
}
// Whether weights are integers times scales, which an int8 product can read once they are unpacked.
inline constexpr bool is_quantized(WeightFormat format) { return format == WeightFormat::kInt8; }

// Bytes of a row's weights, padded to blocks of the rotation.
inline constexpr size_t row_bytes(const QuantScheme& scheme, int32_t cols) {
  const auto padded = static_cast<size_t>((cols + kRotationBlock - 1) / kRotationBlock * kRotationBlock);
  return padded * static_cast<size_t>(weight_bits(scheme.weights)) / 8;
}

// Scales of a row, and the bytes of one: bfloat16 for groups, float32 for a whole row.
inline constexpr int32_t scales_of_row(const QuantScheme& scheme, int32_t cols) {
  if (!is_quantized(scheme.weights)) return 0;
  return scheme.activations == ActivationFormat::kInt8 ? scale_groups(cols, scheme.group) : 1;
}
inline constexpr size_t scale_bytes(const QuantScheme& scheme) { return scheme.activations == ActivationFormat::kInt8 ? 2 : 4; }

// How many outlier channels a matrix of so many columns gets: an eighth of them at most.
inline constexpr int32_t outlier_channels(const QuantScheme& scheme, int32_t cols) {
  return scheme.outliers < cols / 8 ? scheme.outliers : cols / 8;
}

inline const char* format_name(WeightFormat format) {
  return format == WeightFormat::kInt8 ? "int8" : format == WeightFormat::kBFloat16 ? "bfloat16" : "float32";
}
inline const char* format_name(ActivationFormat format) { return format == ActivationFormat::kInt8 ? "int8" : "float32"; }

}  // namespace lowrank
