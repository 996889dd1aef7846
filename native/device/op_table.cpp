#include "device/ops.h"

namespace lowrank::device {

const OpTable& device_ops() {
  static constexpr OpTable table = {LOWRANK_EACH_OP(LOWRANK_OP_ENTRY)};
  return table;
}

}  // namespace lowrank::device
