// Packing of weights and LoRA factors into device memory, in the layout of device/params/common.h, and the way back.
#pragma once

#include <memory>
#include <vector>

#include "device/open_device.h"
#include "device/storage.h"

namespace lowrank::device {

// Reads the rows through `read`, quantises them on the host and copies them to the device, on up to `threads` threads: see
// backend/matrix_rows.h for the memory that they take and for what is thrown.
std::unique_ptr<DeviceMatrix> pack_matrix(OpenDevice& device, const MatrixSpec& spec, const RowReader& read, int threads);

// A matrix without its weights: zeros.
std::unique_ptr<DeviceMatrix> allocate_matrix(OpenDevice& device, const MatrixSpec& spec);

// What pack_matrix writes to, in device memory: weights, scales, columns of the outliers.
std::vector<MemoryRange> memory(const DeviceMatrix& matrix);

// out [row_count, cols] float32: the logical weights as the device holds them.
void unpack_rows(const OpenDevice& device, const DeviceMatrix& matrix, int32_t row_begin, int32_t row_count, float* out);

uint64_t checksum(const OpenDevice& device, const DeviceMatrix& matrix);

}  // namespace lowrank::device
