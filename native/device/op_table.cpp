#include "device/ops.h"

namespace lowrank::device {

const OpTable& device_ops() {
  static constexpr OpTable table = {LOWRANK_INFERENCE_OPS(LOWRANK_OP_ENTRY)};
  return table;
}

}  // namespace lowrank::device
