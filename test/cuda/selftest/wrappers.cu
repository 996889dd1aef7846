#include "selftest/wrappers.h"

#include <cmath>

#include "cuda/ptx.h"

namespace lowrank::selftest {
namespace {

using namespace cuda;

constexpr uint32_t kAll = 0xffffffffU;

LOWRANK_DEVICE uint32_t lane() { return threadIdx.x; }

// Two bfloat16 numbers between 1/4 and 2 in magnitude: their products and sums stay far from every limit.
LOWRANK_DEVICE uint32_t two_bfloat16(uint32_t seed) {
  const uint32_t bits = mixed(seed);
  const uint32_t exponents = (125U + bits % 3) << 7 | (125U + (bits >> 8) % 3) << 23;
  return (bits & 0x807f807fU) | exponents;
}

// Between -4 and 4.
LOWRANK_DEVICE float small_float(uint32_t seed) {
  return static_cast<float>(static_cast<int32_t>(mixed(seed))) * (1.0f / (1 << 29));
}

template <int words>
LOWRANK_DEVICE void store(const WrapperParams& p, const uint32_t (&value)[words]) {
  for (int i = 0; i < words; ++i) p.out[lane() * words + i] = value[i];
}
LOWRANK_DEVICE void store_four(const WrapperParams& p, float a, float b, float c, float d) {
  store<4>(p, {__float_as_uint(a), __float_as_uint(b), __float_as_uint(c), __float_as_uint(d)});
}

LOWRANK_KERNEL(32, 1) mma_s8(WrapperParams p) {
  int32_t d[4];
  uint32_t a[4], b[2], out[4];
  for (uint32_t i = 0; i < 4; ++i) {
    d[i] = static_cast<int32_t>(mixed(lane() * 16 + i)) >> 8;
    a[i] = mixed(lane() * 16 + 4 + i);
  }
  for (uint32_t i = 0; i < 2; ++i) b[i] = mixed(lane() * 16 + 8 + i);
  ptx::mma_m16n8k32_s8(d, a, b);
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint32_t>(d[i]);
  store(p, out);
}

LOWRANK_KERNEL(32, 1) mma_bf16(WrapperParams p) {
  float d[4];
  uint32_t a[4], b[2];
  for (uint32_t i = 0; i < 4; ++i) {
    d[i] = small_float(lane() * 16 + 1000 + i);
    a[i] = two_bfloat16(lane() * 16 + 1004 + i);
  }
  for (uint32_t i = 0; i < 2; ++i) b[i] = two_bfloat16(lane() * 16 + 1008 + i);
  ptx::mma_m16n8k16_bf16(d, a, b);
  store_four(p, d[0], d[1], d[2], d[3]);
}

template <bool transposed>
LOWRANK_KERNEL(32, 1) ldmatrix(WrapperParams p) {
  LOWRANK_SHARED(uint32_t, rows, 32 * 4);
  for (uint32_t i = 0; i < 4; ++i) rows[lane() * 4 + i] = mixed(lane() * 4 + i + 2000);
  __syncthreads();
  // The rows in an order of their own, so that a lane's address matters.
  const uint32_t row = (lane() * 5 + 3) % 32;
  uint32_t out[4];
  if (transposed)
    ptx::ldmatrix_x4_trans(out, rows + row * 4);
  else
    ptx::ldmatrix_x4(out, rows + row * 4);
  store(p, out);
}

LOWRANK_KERNEL(32, 1) cp_async(WrapperParams p) {
  LOWRANK_SHARED(uint32_t, ring, 2 * 32 * 4);
  for (uint32_t i = 0; i < 8; ++i) ring[lane() * 8 + i] = 0xdeadbeefU;
  __syncthreads();
  const uint32_t from = (lane() * 7 + 1) % 32;
  ptx::cp_async_16(ring + lane() * 4, p.memory + from * 4, lane() % 3 != 0);
  ptx::cp_async_commit();
  ptx::cp_async_16(ring + 128 + lane() * 4, p.memory + 128 + from * 4);
  ptx::cp_async_commit();
  uint32_t out[8];
  ptx::cp_async_wait<1>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) out[i] = ring[(31 - lane()) * 4 + i];
  ptx::cp_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 + i] = ring[128 + (31 - lane()) * 4 + i];
  store(p, out);
}

LOWRANK_KERNEL(32, 1) load_streaming(WrapperParams p) {
  const uint4 value = ptx::load_streaming_16(p.memory + ((lane() * 11) % 64) * 4);
  store<4>(p, {value.x, value.y, value.z, value.w});
}

LOWRANK_KERNEL(32, 1) exp2_approximate(WrapperParams p) {
  const float x = small_float(lane() + 3000) * 8.0f;
  store_four(p, ptx::exp2_approximate(x), ptx::exp2_approximate(-126.0f + x * 0.01f), ptx::exp2_approximate(-200.0f),
             ptx::exp2_approximate(static_cast<float>(lane()) - 16.0f));
}

LOWRANK_KERNEL(32, 1) reciprocal_approximate(WrapperParams p) {
  const float x = small_float(lane() + 3500);
  store_four(p, ptx::reciprocal_approximate(x), ptx::reciprocal_approximate(1.0f + x * x),
             ptx::reciprocal_approximate(x * 0x1p100f), ptx::reciprocal_approximate(lane() % 2 == 0 ? INFINITY : 3e38f));
}

LOWRANK_KERNEL(32, 1) dot_s8(WrapperParams p) {
  uint32_t out[2];
  for (uint32_t i = 0; i < 2; ++i)
    out[i] = static_cast<uint32_t>(__dp4a(static_cast<int>(mixed(lane() * 8 + i + 4000)), static_cast<int>(mixed(lane() * 8 + i + 4002)),
                                          static_cast<int>(mixed(lane() * 8 + i + 4004))));
  store(p, out);
}

LOWRANK_KERNEL(32, 1) shuffles(WrapperParams p) {
  const uint32_t value = mixed(lane() + 5000);
  store<6>(p, {__shfl_sync(kAll, value, static_cast<int>((lane() * 3 + 5) % 32)), __shfl_xor_sync(kAll, value, 9),
               __shfl_up_sync(kAll, value, 3), __shfl_down_sync(kAll, value, 5), __shfl_xor_sync(kAll, value, 2, 8),
               __shfl_sync(kAll, value, 1, 4)});
}

LOWRANK_KERNEL(32, 1) votes(WrapperParams p) {
  const uint32_t value = mixed(lane() + 6000);
  store<6>(p, {__ballot_sync(kAll, static_cast<int>(value & 1)), static_cast<uint32_t>(__any_sync(kAll, value % 32 == 7)),
               static_cast<uint32_t>(__all_sync(kAll, value != 7)), __reduce_max_sync(kAll, value), __reduce_add_sync(kAll, value),
               static_cast<uint32_t>(__reduce_max_sync(kAll, static_cast<int>(value)))});
}

LOWRANK_KERNEL(32, 1) atomics(WrapperParams p) {
  LOWRANK_SHARED(uint32_t, sums, 4);
  if (lane() < 4) sums[lane()] = 0;
  __syncthreads();
  const uint32_t value = mixed(lane() + 7000);
  atomicAdd(sums + lane() % 2, value);
  atomicMax(sums + 2, value);
  atomicAdd(p.memory + 512, value);
  __syncthreads();
  store<4>(p, {sums[0], sums[1], sums[2], *static_cast<volatile uint32_t*>(p.memory + 512)});
}

// IEEE 754, whatever compiles it: no contraction, no fast division, subnormals kept.
LOWRANK_KERNEL(32, 1) float_arithmetic(WrapperParams p) {
  const float a = small_float(lane() + 8000);
  const float b = small_float(lane() + 8100);
  const float c = small_float(lane() + 8200);
  const float tiny = __uint_as_float(mixed(lane() + 8300) & 0x007fffffU);
  const float positive = a * a + 0.5f;
  store<8>(p, {__float_as_uint(a * b + c), __float_as_uint(__fmaf_rn(a, b, c)), __float_as_uint(a / b),
               __float_as_uint(sqrtf(positive)), __float_as_uint(tiny * 0.5f), __float_as_uint(tiny + tiny),
               __float_as_uint(1.0f / sqrtf(positive)), static_cast<uint32_t>(__float2int_rn(a * 8.0f))});
}

}  // namespace

const std::vector<Wrapper>& wrappers() {
  static const std::vector<Wrapper> all = {
      {"mma_m16n8k32_s8", mma_s8, 4, 0, 0},
      {"mma_m16n8k16_bf16", mma_bf16, 4, 0, 16},
      {"ldmatrix_x4", ldmatrix<false>, 4, 0, 0},
      {"ldmatrix_x4_trans", ldmatrix<true>, 4, 0, 0},
      {"cp_async", cp_async, 8, 0, 0},
      {"load_streaming_16", load_streaming, 4, 0, 0},
      {"exp2_approximate", exp2_approximate, 4, 2, 0},
      {"reciprocal_approximate", reciprocal_approximate, 4, 1, 0},
      {"__dp4a", dot_s8, 2, 0, 0},
      {"shuffles", shuffles, 6, 0, 0},
      {"votes and reductions", votes, 6, 0, 0},
      {"atomics", atomics, 4, 0, 0},
      {"float arithmetic", float_arithmetic, 8, 0, 0},
  };
  return all;
}

}  // namespace lowrank::selftest
