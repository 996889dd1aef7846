// What a device backend packs: handles with the views that kernels get.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "device/params/common.h"

namespace lowrank::device {

// Matrix::input points to device memory, as the quantise ops want it.
struct DeviceMatrix : lowrank::Matrix {
  device::Matrix view{};
  MatrixSpec spec;
  BackendMemory data, scale, smoothing, outlier_ids, outlier_columns;
};

struct DeviceFactor : LoraFactor {
  device::Factor view{};
  BackendMemory data;
};

inline Matrix view_of(const lowrank::Matrix& matrix) { return static_cast<const DeviceMatrix&>(matrix).view; }
inline Factor view_of(const LoraFactor& factor) { return static_cast<const DeviceFactor&>(factor).view; }

inline Activations view_of(const lowrank::Activations& in) {
  return {in.q, in.scale, in.outliers, in.values, in.cols, in.stride, in.format};
}
inline InputTransform view_of(const lowrank::InputTransform& input) {
  return {input.smoothing, input.outliers, input.outlier_count, input.rotated};
}

}  // namespace lowrank::device
