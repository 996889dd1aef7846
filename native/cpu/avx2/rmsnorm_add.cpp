// The norm behind a block (ops/rmsnorm_add.h), by the shared loop of cpu/simd/ on pairs of 256-bit registers.
#include "cpu/simd/rmsnorm_add.h"

#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"

namespace lowrank::cpu::avx2 {

void rmsnorm_add(const RmsNormAddArgs& args, int part, int parts) { add_normalised<Avx2>(args, part, parts); }

}  // namespace lowrank::cpu::avx2
