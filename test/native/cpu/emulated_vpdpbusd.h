// AVX-VNNI on processors that lack it, so that its machine code is tested anywhere: each VEX-coded vpdpbusd ends in the signal of
// an illegal instruction, whose handler does what the processor would.
#pragma once

#include "backend/backend.h"

namespace lowrank::test {

// The backend of AVX-VNNI, with the handler installed for the rest of the process; null where the processor has AVX-VNNI, or lacks
// AVX2, and on other systems than Linux.
const Backend* emulated_avx_vnni();

// How many instructions were emulated so far.
long emulated_instructions();

}  // namespace lowrank::test
