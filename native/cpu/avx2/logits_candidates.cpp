// The blocks of logits (ops/logits_candidates.h), by the shared loop of cpu/simd/ on 256-bit registers.
#include "cpu/simd/logits_candidates.h"

#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"

namespace lowrank::cpu::avx2 {

void logits_blocks(const LogitsCandidatesArgs& args, int part, int parts) {
  reduce_logits<Avx2>(args, part, parts);
}

}  // namespace lowrank::cpu::avx2
