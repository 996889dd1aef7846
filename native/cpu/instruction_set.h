// The op tables of the CPU backend, one for each instruction set, and what each asks of the processor.
//
// LOWRANK_HAVE_X86_64 is defined for the whole build where the sources of avx2/, avx_vnni/, avx512vl_vnni/ and avx512_vnni/ are
// compiled in (x86-64 only); detect.cpp decides at run time which table may be called. A table starts as a copy of a lower
// one, with the ops that it does better replaced.
// Every table reads the one layout of layout.h, so a packed matrix serves all of them.
//
// The sources of an instruction set are compiled with flags that the baseline must not see. So they share no
// inline function that the linker could keep in their version: what they take from outside is types,
// constants, templates over the instruction set (simd/) and functions that are inlined whole, and their own
// functions have internal linkage, but for the table. `npm test` looks through the symbols of the built addon.
#pragma once

#include "ops/op_table.h"

namespace lowrank::cpu {

const OpTable& reference_ops();  // any processor

#if defined(LOWRANK_HAVE_X86_64)
// AVX2, FMA, F16C, and the system saves ymm registers. Compiled with -mavx2 -mfma -mf16c.
const OpTable& avx2_ops();

// AVX2's and AVX-VNNI. Compiled with -mavxvnni besides.
const OpTable& avx_vnni_ops();

// AVX2's and AVX-512 F, VL and VNNI. Compiled with -mavx512f -mavx512vl -mavx512vnni besides.
const OpTable& avx512vl_vnni_ops();

// AVX-512 F, BW, DQ, VL, VNNI, BF16, FMA and AVX2, and the system saves zmm and opmask registers.
// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16 -mfma -mavx2.
const OpTable& avx512_vnni_ops();
#endif

}  // namespace lowrank::cpu
