// Opening an adapter held in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/tensor_source.h"

namespace lowrank {

// GGUF by its magic number, else safetensors. The bytes are read where they lie, for as long as the source lives; `owner` keeps
// them. Throws Error(kAdapterFormat).
std::unique_ptr<TensorSource> open_adapter(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner);
// Takes the bytes over.
std::unique_ptr<TensorSource> open_adapter(std::vector<uint8_t> bytes);

}  // namespace lowrank
