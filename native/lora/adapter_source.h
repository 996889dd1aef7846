// Opening an adapter held in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "formats/tensor_source.h"

namespace lowrank {

// GGUF by its magic number, else safetensors. Throws Error(kAdapterFormat).
std::unique_ptr<TensorSource> open_adapter(std::vector<uint8_t> bytes);

}  // namespace lowrank
