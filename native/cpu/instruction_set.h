// One instruction set of the CPU backend. What there is, and what each needs, stands in instruction_sets.json; the build writes
// generated/instruction_sets.h (declarations) and generated/instruction_set_table.h (entries) from it. The sources of a set lie in the
// folder of its name: they define `const OpTable& ops()` in its namespace, which starts from base::ops(), the table of what it extends,
// and replaces the ops that it does better. Every table reads the one layout of layout.h, so a packed matrix serves all of them.
//
// The sources of a set are compiled with flags that the baseline must not see. So they share no inline function that the linker
// could keep in their version: what they take from outside is types, constants, templates over a type of vectors of their own (simd/)
// and functions that are inlined whole, and their own functions have internal linkage, but for `ops`. A set that builds on another's
// vectors derives a type from them, in an unnamed namespace. test/scripts/instruction-set-symbols.test.ts looks through the symbols.
#pragma once

#include <cstdint>

#include "ops/numeric_traits.h"
#include "ops/op_table.h"

namespace lowrank::cpu {

struct InstructionSetEntry {
  const char* name;
  const char* extends;  // "" for the reference
  const char* description;
  NumericTraits traits;
  uint64_t features;     // see features.h
  uint64_t permissions;
  const OpTable& (*ops)();  // null where it is not compiled in; to be called only where the processor has the features
};

}  // namespace lowrank::cpu
