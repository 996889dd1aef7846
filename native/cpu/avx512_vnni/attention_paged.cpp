// Paged attention (ops/attention_paged.h), by the shared loops of cpu/simd/ on 512-bit registers.
#include "cpu/simd/attention_paged.h"

#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"

namespace lowrank::cpu::avx512_vnni {

void attention_paged(const AttentionPagedArgs& args, int part, int parts) {
  attend<Avx512Vnni>(args, part, parts);
}

}  // namespace lowrank::cpu::avx512_vnni
