// AVX2 with vpdpbusd on 256 bits as AVX-512 has it (EVEX-coded, 32 registers), for processors with AVX-512 VNNI but without the
// BF16 that avx512_vnni/ needs: the int8 product is its own, all else is AVX2's.
#include "cpu/avx2/vector.h"
#include "cpu/simd/simd_ops.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {
namespace {

struct Avx512VlVnni : Avx2 {
  // Each lane: acc + the sum of four products of an unsigned byte of `weights` and a signed one of `activations`. Compilers
  // copy the accumulators of the intrinsic around.
  static LOWRANK_INLINE void dot_bytes(I32& acc, I32 weights, I32 activations) {
#if defined(__GNUC__)
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.low) : "v"(weights.low), "v"(activations.low));
    asm("vpdpbusd %2, %1, %0" : "+v"(acc.high) : "v"(weights.high), "v"(activations.high));
#else
    acc.low = _mm256_dpbusd_epi32(acc.low, weights.low, activations.low);
    acc.high = _mm256_dpbusd_epi32(acc.high, weights.high, activations.high);
#endif
  }
};

}  // namespace

const OpTable& avx512vl_vnni::ops() {
  static const OpTable table = simd::with_dot_product<Avx512VlVnni, base::ops>();
  return table;
}

}  // namespace lowrank::cpu
