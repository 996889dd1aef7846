// The header of one safetensors file.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/byte_source.h"
#include "formats/tensor_source.h"

namespace lowrank {

// The tensors that the header lists, in its order, with offsets from the start of the file and
// TensorInfo::file = `file`. Checked here: the header's length and JSON, types, shapes, and that the data
// ranges follow one another from the header's end to the file's end without gap or overlap. Names, and
// lengths against shapes, are TensorSource's.
std::vector<TensorInfo> read_safetensors_header(const ByteSource& bytes, uint32_t file);

}  // namespace lowrank
