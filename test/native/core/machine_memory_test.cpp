#include "core/machine_memory.h"

#include <unistd.h>

#include "check.h"

using namespace lowrank;

TEST("core/machine_memory: more than this process holds, and no more than there is") {
  const uint64_t bytes = machine_memory();
  CHECK(bytes > uint64_t{16} << 20);
  CHECK(bytes <= static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
  CHECK_EQ(machine_memory(), bytes);
}
