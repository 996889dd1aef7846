// What this processor and operating system can run. Compiled for the baseline CPU, so that asking is always
// safe.
#pragma once

namespace lowrank::cpu {

bool processor_has_avx2();         // what avx2_ops() asks for; see instruction_set.h
bool processor_has_avx512_vnni();  // what avx512_vnni_ops() asks for

}  // namespace lowrank::cpu
