// AVX2 with vpdpbusd, VEX-coded: the int8 product is its own, all else is AVX2's.
#include "cpu/avx2/vector.h"
#include "cpu/simd/simd_ops.h"
#include "generated/instruction_sets.h"

namespace lowrank::cpu {
namespace {

struct AvxVnni : Avx2 {
  // Each lane: acc + the sum of four products of an unsigned byte of `weights` and a signed one of `activations`. Compilers
  // copy the accumulators of the intrinsic around; assemblers take the EVEX form unless told.
  static LOWRANK_INLINE void dot_bytes(I32& acc, I32 weights, I32 activations) {
#if defined(__GNUC__)
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.low) : "x"(weights.low), "x"(activations.low));
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.high) : "x"(weights.high), "x"(activations.high));
#else
    acc.low = _mm256_dpbusd_avx_epi32(acc.low, weights.low, activations.low);
    acc.high = _mm256_dpbusd_avx_epi32(acc.high, weights.high, activations.high);
#endif
  }
};

}  // namespace

const OpTable& avx_vnni::ops() {
  static const OpTable table = simd::with_dot_product<AvxVnni, base::ops>();
  return table;
}

}  // namespace lowrank::cpu
