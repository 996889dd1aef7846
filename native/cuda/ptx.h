// Instructions that neither C++ nor CUDA's built-in functions have, one a wrapper (PTX ISA 9.0, chapters 9.7.9 and 9.7.14).
// Each is warp-wide where it says so: all 32 lanes call it together. Fragment layouts: lane = 4 * group + member.
#pragma once

#include <cstdint>

#include "cuda/cuda.h"

#if defined(__CUDACC__)

namespace lowrank::cuda::ptx {

// The address within the block's shared memory.
LOWRANK_DEVICE uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Warp-wide. d += a b, exactly: d [16, 8] int32, a [16, 32] int8 row-major, b [32, 8] int8 column-major.
//   a[i]: row group + 8 (i & 1), columns 4 member + 16 (i >> 1) and the next three, lowest byte first
//   b[i]: rows 4 member + 16 i and the next three, column group
//   d[i]: row group + 8 (i >> 1), column 2 member + (i & 1)
LOWRANK_DEVICE void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Warp-wide. d += a b: d [16, 8] float32, a [16, 16] bfloat16 row-major, b [16, 8] bfloat16 column-major. The order of the
// sum is the device's own.
//   a[i]: row group + 8 (i & 1), columns 2 member + 8 (i >> 1) and the next, low half first
//   b[i]: rows 2 member + 8 i and the next, column group
//   d[i]: as above
LOWRANK_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Warp-wide. Four 8 x 8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8 in shared memory,
// 16 bytes aligned to 16. r[j]: row group, elements 2 member and the next of matrix j.
LOWRANK_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}
// Of the transposed matrices.
LOWRANK_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

// Copies 16 bytes, both aligned to 16, in the background; zeros where not `valid` (global is not read then, and must still be
// an address). There after cp_async_wait and a barrier.
LOWRANK_DEVICE void cp_async_16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}
// Closes a group of this thread's copies.
LOWRANK_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's last groups are under way.
template <int pending>
LOWRANK_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// 16 bytes of memory that no kernel of this launch writes and that is read once: it need not stay in the first-level cache.
LOWRANK_DEVICE uint4 load_streaming_16(const void* global) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(__cvta_generic_to_global(global)));
  return value;
}

// 2^x within 2 ulp; subnormal results are 0.
LOWRANK_DEVICE float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// 1 / x within 1 ulp; subnormal x and results are 0.
LOWRANK_DEVICE float reciprocal_approximate(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// Two bfloat16, `low` in the lower half, rounded to nearest even. Every NaN becomes 0x7fff.
LOWRANK_DEVICE uint32_t bfloat16_pair(float low, float high) {
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

}  // namespace lowrank::cuda::ptx

#else

#include "emulator/ptx.h"  // the same names, emulated

#endif
