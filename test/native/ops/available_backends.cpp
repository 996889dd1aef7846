#include "ops/op_case.h"

namespace lowrank::test {

std::vector<const Backend*> available_backends() {
  std::vector<const Backend*> backends;
  for (const InstructionSet& set : cpu_instruction_sets())
    if (set.available) backends.push_back(&cpu_backend(set.name));
  return backends;
}

}  // namespace lowrank::test
