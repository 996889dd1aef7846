// The fragment layouts of mma and ldmatrix, against plain loops.
#include <random>

#include "emulation/kernel_case.h"

using namespace lowrank;
using namespace lowrank::test;
namespace ptx = lowrank::cuda::ptx;

namespace {

struct S8Params {
  const int8_t* a;  // [16, 32]
  const int8_t* b;  // [32, 8] column-major
  int32_t* d;       // [16, 8]
};

LOWRANK_KERNEL(32, 1) multiply_s8(S8Params in) {
  const uint32_t group = threadIdx.x / 4, member = threadIdx.x % 4;
  uint32_t a[4], b[2];
  for (uint32_t i = 0; i < 4; ++i) std::memcpy(&a[i], in.a + (group + 8 * (i & 1)) * 32 + 4 * member + 16 * (i >> 1), 4);
  for (uint32_t i = 0; i < 2; ++i) std::memcpy(&b[i], in.b + group * 32 + 4 * member + 16 * i, 4);
  int32_t d[4];
  for (uint32_t i = 0; i < 4; ++i) d[i] = in.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)];
  ptx::mma_m16n8k32_s8(d, a, b);
  for (uint32_t i = 0; i < 4; ++i) in.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = d[i];
}

struct Bf16Params {
  const uint16_t* a;  // [16, 16]
  const uint16_t* b;  // [16, 8] column-major
  float* d;           // [16, 8]
};

LOWRANK_KERNEL(32, 1) multiply_bf16(Bf16Params in) {
  const uint32_t group = threadIdx.x / 4, member = threadIdx.x % 4;
  uint32_t a[4], b[2];
  for (uint32_t i = 0; i < 4; ++i) std::memcpy(&a[i], in.a + (group + 8 * (i & 1)) * 16 + 2 * member + 8 * (i >> 1), 4);
  for (uint32_t i = 0; i < 2; ++i) std::memcpy(&b[i], in.b + group * 16 + 2 * member + 8 * i, 4);
  float d[4];
  for (uint32_t i = 0; i < 4; ++i) d[i] = in.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)];
  ptx::mma_m16n8k16_bf16(d, a, b);
  for (uint32_t i = 0; i < 4; ++i) in.d[(group + 8 * (i >> 1)) * 8 + 2 * member + (i & 1)] = d[i];
}

struct LoadParams {
  const uint16_t* from;  // [4, 8, 8]
  uint16_t* to;          // [2, 32, 4, 2]: plain, transposed; by lane, matrix, half
};

LOWRANK_KERNEL(32, 1) load_matrices(LoadParams in) {
  LOWRANK_SHARED(uint16_t, rows, 4 * 64);
  for (uint32_t i = threadIdx.x; i < 4 * 64; i += 32) rows[i] = in.from[i];
  __syncthreads();
  uint32_t plain[4], transposed[4];
  ptx::ldmatrix_x4(plain, rows + 8 * threadIdx.x);
  ptx::ldmatrix_x4_trans(transposed, rows + 8 * threadIdx.x);
  std::memcpy(in.to + 8 * threadIdx.x, plain, 16);
  std::memcpy(in.to + 256 + 8 * threadIdx.x, transposed, 16);
}

uint16_t bfloat16_of(int value) { return float32_to_bfloat16(static_cast<float>(value)); }

}  // namespace

TEST("emulator: mma.m16n8k32.s8 is the product, at the ends of the range too, and adds to d") {
  std::mt19937 random(1);
  for (int round = 0; round < 4; ++round) {
    std::vector<int8_t> a(16 * 32), b(8 * 32);
    std::vector<int32_t> d(16 * 8), expected;
    for (auto& one : a) one = round == 0 ? int8_t{-128} : static_cast<int8_t>(random());
    for (auto& one : b) one = round == 0 ? int8_t{-128} : static_cast<int8_t>(random());
    for (auto& one : d) one = static_cast<int32_t>(random()) / 4;
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        int32_t sum = d[static_cast<size_t>(row * 8 + column)];
        for (int k = 0; k < 32; ++k) sum += a[static_cast<size_t>(row * 32 + k)] * b[static_cast<size_t>(column * 32 + k)];
        expected.push_back(sum);
      }
    for_every_order([&] {
      const DeviceArray<int8_t> device_a(a), device_b(b);
      const DeviceArray<int32_t> device_d(d);
      CHECK_EQ(run_kernel(multiply_s8, 1, 32, S8Params{device_a.data(), device_b.data(), device_d.data()}), cudaSuccess);
      CHECK(device_d.read() == expected);
    });
  }
}

TEST("emulator: mma.m16n8k16.bf16 is the product of small integers, exactly") {
  std::mt19937 random(2);
  std::vector<uint16_t> a(16 * 16), b(8 * 16);
  std::vector<float> d(16 * 8), expected;
  for (auto& one : a) one = bfloat16_of(static_cast<int>(random() % 256) - 128);
  for (auto& one : b) one = bfloat16_of(static_cast<int>(random() % 256) - 128);
  for (auto& one : d) one = static_cast<float>(random() % 1000);
  for (size_t row = 0; row < 16; ++row)
    for (size_t column = 0; column < 8; ++column) {
      float sum = d[row * 8 + column];
      for (size_t k = 0; k < 16; ++k) sum += bfloat16_to_float32(a[row * 16 + k]) * bfloat16_to_float32(b[column * 16 + k]);
      expected.push_back(sum);
    }
  const DeviceArray<uint16_t> device_a(a), device_b(b);
  const DeviceArray<float> device_d(d);
  CHECK_EQ(run_kernel(multiply_bf16, 1, 32, Bf16Params{device_a.data(), device_b.data(), device_d.data()}), cudaSuccess);
  CHECK(device_d.read() == expected);
}

TEST("emulator: ldmatrix deals out rows, and columns when it transposes") {
  std::vector<uint16_t> from(4 * 64);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint16_t>(i);
  const DeviceArray<uint16_t> device_from(from), to(2 * 256);
  CHECK_EQ(run_kernel(load_matrices, 1, 32, LoadParams{device_from.data(), to.data()}), cudaSuccess);
  const std::vector<uint16_t> result = to.read();
  for (size_t lane = 0; lane < 32; ++lane)
    for (size_t matrix = 0; matrix < 4; ++matrix)
      for (size_t half = 0; half < 2; ++half) {
        const size_t at = lane * 8 + matrix * 2 + half, major = lane / 4, minor = 2 * (lane % 4) + half;
        CHECK_EQ(result[at], matrix * 64 + major * 8 + minor);
        CHECK_EQ(result[256 + at], matrix * 64 + minor * 8 + major);
      }
}
