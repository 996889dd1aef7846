// Paged attention (ops/attention_paged.h), by the shared loops of cpu/simd/ on pairs of 256-bit registers.
#include "cpu/simd/attention_paged.h"

#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"

namespace lowrank::cpu::avx2 {

void attention_paged(const AttentionPagedArgs& args, int part, int parts) {
  attend<Avx2>(args, part, parts);
}

}  // namespace lowrank::cpu::avx2
