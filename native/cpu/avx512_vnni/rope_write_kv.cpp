// Rotary embedding and the cache write (ops/rope_write_kv.h), by the shared loops of cpu/simd/ on 512-bit
// registers.
#include "cpu/simd/rope_write_kv.h"

#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"

namespace lowrank::cpu::avx512_vnni {

void rope_write_kv(const RopeWriteKvArgs& args, int part, int parts) {
  rotate_and_write<Avx512Vnni>(args, part, parts);
}

}  // namespace lowrank::cpu::avx512_vnni
