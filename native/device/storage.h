// What a device backend packs: handles with the views that kernels get.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "device/params/common.h"

namespace lowrank::device {

class FactorBlock;

// Matrix::input points to device memory, as the quantise ops want it; Matrix::outlier_columns stays null.
struct DeviceMatrix : lowrank::Matrix {
  device::Matrix view{};
  MatrixSpec spec;
  BackendMemory data, scale, smoothing, outlier_ids, outliers;  // the latter: view.outlier_columns
};

// Its values may come and go on the device with its block: see factor_store.h.
struct DeviceFactor : LoraFactor {
  device::Factor view{};  // data: null where it has a block
  std::shared_ptr<FactorBlock> block;
  size_t offset = 0;      // bytes from the block's begin
};

inline Matrix view_of(const lowrank::Matrix& matrix) { return static_cast<const DeviceMatrix&>(matrix).view; }
// Only while a step is recorded: the address holds for that step.
Factor view_of(const LoraFactor& factor);

inline Activations view_of(const lowrank::Activations& in) {
  return {in.q, in.scale, in.outliers, in.values, in.cols, in.stride, in.format};
}
inline InputTransform view_of(const lowrank::InputTransform& input) {
  return {input.smoothing, input.outliers, input.outlier_count, input.rotated};
}

}  // namespace lowrank::device
