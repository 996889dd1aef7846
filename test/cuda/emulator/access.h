// What kernels may touch.
#pragma once

#include <cstddef>

#include "emulator/block.h"

namespace lowrank::emulator {

// Whether one shared array of the block holds all of it.
bool is_shared(const void* data, size_t bytes);
void begin_copy(const AsyncCopy& copy);

}  // namespace lowrank::emulator
