// The blocks of logits (ops/logits_candidates.h), by the shared loop of cpu/simd/ on 512-bit registers.
#include "cpu/simd/logits_candidates.h"

#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"

namespace lowrank::cpu::avx512_vnni {

void logits_blocks(const LogitsCandidatesArgs& args, int part, int parts) {
  reduce_logits<Avx512Vnni>(args, part, parts);
}

}  // namespace lowrank::cpu::avx512_vnni
