// What this processor and operating system can run. Compiled for the baseline CPU, so that asking is always
// safe.
#pragma once

namespace lowrank::cpu {

// What the tables of instruction_set.h ask for.
bool processor_has_avx2();
bool processor_has_avx_vnni();
bool processor_has_avx512vl_vnni();
bool processor_has_avx512_vnni();

}  // namespace lowrank::cpu
