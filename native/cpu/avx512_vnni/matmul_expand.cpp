// The shared loops of cpu/simd/ on 512-bit registers.
#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"
#include "cpu/simd/matmul_float.h"
#include "cpu/simd/matmul_int8.h"

namespace lowrank::cpu::avx512_vnni {

void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  if (args.w->activation == ActivationFormat::kInt8)
    multiply<Avx512Vnni, Int8DotKernel<Avx512Vnni>>(args, part, parts);
  else
    multiply_float<Avx512Vnni>(args, part, parts);
}

}  // namespace lowrank::cpu::avx512_vnni
