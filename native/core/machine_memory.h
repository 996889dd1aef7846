// The memory that this process may have.
#pragma once

#include <cstdint>

namespace lowrank {

// Bytes: the machine's, or the limit of the process's cgroup where that is less. 0 where neither is known.
uint64_t machine_memory();

}  // namespace lowrank
