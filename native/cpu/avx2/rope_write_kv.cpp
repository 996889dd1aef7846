// Rotary embedding and the cache write (ops/rope_write_kv.h), by the shared loops of cpu/simd/ on pairs of
// 256-bit registers.
#include "cpu/simd/rope_write_kv.h"

#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"

namespace lowrank::cpu::avx2 {

void rope_write_kv(const RopeWriteKvArgs& args, int part, int parts) {
  rotate_and_write<Avx2>(args, part, parts);
}

}  // namespace lowrank::cpu::avx2
