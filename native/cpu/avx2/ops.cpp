// The loops of simd/ on pairs of 256-bit registers, but for the int8 product, which lacks vpdpbusd.
#include "cpu/avx2/madd_kernel.h"
#include "cpu/avx2/vector.h"
#include "cpu/simd/simd_ops.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {

const OpTable& avx2::ops() {
  static const OpTable table = simd::all_ops<Avx2, MaddKernel>(base::ops());
  return table;
}

}  // namespace lowrank::cpu
