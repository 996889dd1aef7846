// The norm behind a block (ops/rmsnorm_add.h), by the shared loop of cpu/simd/ on 512-bit registers.
#include "cpu/simd/rmsnorm_add.h"

#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"

namespace lowrank::cpu::avx512_vnni {

void rmsnorm_add(const RmsNormAddArgs& args, int part, int parts) {
  add_normalised<Avx512Vnni>(args, part, parts);
}

}  // namespace lowrank::cpu::avx512_vnni
