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
  const auto same_but_for_product = [](OpTable one, const OpTable& other) {
    one.matmul_expand = other.matmul_expand;
#define LOWRANK_SAME_OP(name, Name) &&one.name == other.name
    return one.training == other.training LOWRANK_INFERENCE_OPS(LOWRANK_SAME_OP);
#undef LOWRANK_SAME_OP
  };
  const std::vector<InstructionSet> sets = cpu_instruction_sets();
  std::vector<const Backend*> backends;
  for (const InstructionSet& set : sets) {
    if (!set.available) continue;
    const Backend& backend = cpu_backend(set.name);
    bool product_alone = false;
    for (const InstructionSet& base : sets)
      if (std::string(base.name) == set.extends && base.available)
        product_alone = same_but_for_product(backend.ops(), cpu_backend(base.name).ops());
    if (!product_alone) backends.push_back(&backend);
  }
  return backends;
}

}  // namespace lowrank::test
