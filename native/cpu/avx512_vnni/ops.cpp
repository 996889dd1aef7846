// The loops of simd/ on 512-bit registers.
#include "cpu/avx512_vnni/vector.h"
#include "cpu/simd/simd_ops.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {

const OpTable& avx512_vnni::ops() {
  static const OpTable table = simd::all_ops<Avx512Vnni>(base::ops());
  return table;
}

}  // namespace lowrank::cpu
