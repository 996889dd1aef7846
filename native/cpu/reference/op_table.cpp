#include "cpu/instruction_set.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu {

const OpTable& reference_ops() {
  using namespace reference;
  static constexpr OpTable table = {LOWRANK_EACH_OP(LOWRANK_OP_ENTRY)};
  return table;
}

}  // namespace lowrank::cpu
