#include "cpu/emulated_vpdpbusd.h"
#include "ops/op_case.h"

namespace lowrank::test {

std::vector<const Backend*> product_backends() {
  std::vector<const Backend*> backends;
  for (const InstructionSet& set : cpu_instruction_sets())
    if (set.available) backends.push_back(&cpu_backend(set.name));
  if (const Backend* emulated = emulated_avx_vnni()) backends.push_back(emulated);
  return backends;
}

std::vector<const Backend*> available_backends() {
  std::vector<const Backend*> backends;
  for (const InstructionSet& set : cpu_instruction_sets()) {
    const std::string name = set.name;
    if (set.available && name != "avx_vnni" && name != "avx512vl_vnni") backends.push_back(&cpu_backend(name));
  }
  return backends;
}

}  // namespace lowrank::test
