// What lanes and threads tell each other: shuffles, votes, reductions, barriers, atomics.
#include <numeric>

#include "emulation/kernel_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

struct Params {
  int* out;
  int count;
};

constexpr unsigned kAll = 0xffffffffu;

LOWRANK_KERNEL(32, 1) shuffle_all(Params in) {
  const int lane = static_cast<int>(threadIdx.x);
  in.out[lane] = __shfl_sync(kAll, lane, 5);
  in.out[32 + lane] = __shfl_xor_sync(kAll, lane, 16);
  in.out[64 + lane] = __shfl_up_sync(kAll, lane, 3);
  in.out[96 + lane] = __shfl_down_sync(kAll, lane, 3);
  in.out[128 + lane] = __shfl_sync(kAll, lane, 9, 8);
  in.out[160 + lane] = __shfl_xor_sync(kAll, lane, 8, 8);
  in.out[192 + lane] = __shfl_up_sync(kAll, lane, 3, 8);
  in.out[224 + lane] = __shfl_down_sync(kAll, lane, 3, 8);
  in.out[256 + lane] = static_cast<int>(__shfl_sync(kAll, static_cast<float>(lane) * 0.5f, (lane + 1) % 32) * 2.0f);
}

LOWRANK_KERNEL(32, 1) vote_all(Params in) {
  const int lane = static_cast<int>(threadIdx.x);
  in.out[lane] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
  in.out[32 + lane] = __any_sync(kAll, lane == 7);
  in.out[64 + lane] = __all_sync(kAll, lane < 31);
  in.out[96 + lane] = __reduce_add_sync(kAll, lane - 10);
  in.out[128 + lane] = __reduce_min_sync(kAll, lane - 10);
  in.out[160 + lane] = static_cast<int>(__reduce_max_sync(kAll, static_cast<unsigned>(lane - 10)));
  in.out[192 + lane] = static_cast<int>(__match_any_sync(kAll, static_cast<unsigned>(lane % 4)));
  in.out[224 + lane] = __reduce_max_sync(kAll, lane - 40);
}

// The halves of a warp go their own ways, then meet.
LOWRANK_KERNEL(32, 1) halves(Params in) {
  const int lane = static_cast<int>(threadIdx.x);
  int sum;
  if (lane < 16) {
    sum = __reduce_add_sync(0xffffu, lane);
    sum = __shfl_sync(0xffffu, sum + lane, 2);
  } else {
    sum = __reduce_add_sync(0xffff0000u, lane);
  }
  __syncwarp();
  in.out[lane] = __shfl_xor_sync(kAll, sum, 16);
}

// A sum over a block in log2 steps, by shared memory alone.
LOWRANK_KERNEL(256, 1) block_sum(Params in) {
  LOWRANK_SHARED(int, values, 256);
  const int at = static_cast<int>(threadIdx.x);
  values[at] = at * (static_cast<int>(blockIdx.x) + 1);
  for (int step = 128; step > 0; step /= 2) {
    __syncthreads();
    if (at < step) values[at] += values[at + step];
  }
  const int odd = __syncthreads_count(at % 2);
  if (at == 0) in.out[blockIdx.x] = values[0] + odd;
}

// The block that comes last adds up what all have left.
LOWRANK_KERNEL(64, 1) last_block_sums(Params in) {
  LOWRANK_SHARED(int, last, 1);
  const int blocks = static_cast<int>(gridDim.x);
  int* const counter = in.out + 1 + in.count;
  if (threadIdx.x < 32) in.out[1 + blockIdx.x * 32 + threadIdx.x] = static_cast<int>(blockIdx.x);
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last[0] = atomicAdd(counter, 1) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  if (last[0] == 0) return;
  if (threadIdx.x == 0) {
    int sum = 0;
    for (int i = 0; i < in.count; ++i) sum += in.out[1 + i];
    in.out[0] = sum;
  }
}

LOWRANK_KERNEL(128, 1) atomics(Params in) {
  atomicAdd(&in.out[0], 2);
  atomicMax(&in.out[1], static_cast<int>(threadIdx.x * 7 % 128));
  atomicMin(&in.out[2], -static_cast<int>(threadIdx.x));
  if (atomicCAS(&in.out[3], 0, 1) == 0) atomicAdd(&in.out[4], 1);
}

// Threads of three dimensions, and where they are.
LOWRANK_KERNEL(24, 1) indices(Params in) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  in.out[block * 24 + thread] = static_cast<int>(block * 24 + thread);
}

std::vector<int> run(void (*kernel)(Params), dim3 grid, dim3 block, size_t count, int given = 0, std::vector<int> before = {}) {
  before.resize(count);
  const DeviceArray<int> out(before);
  CHECK_EQ(run_kernel(kernel, grid, block, Params{out.data(), given}), cudaSuccess);
  CHECK_EQ(emulator::misuse(), "");
  return out.read();
}

}  // namespace

TEST("emulator: shuffles, whole and in parts of a warp") {
  for_every_order([] {
    const std::vector<int> out = run(shuffle_all, 1, 32, 9 * 32);
    for (int lane = 0; lane < 32; ++lane) {
      const auto result = [&](int i) { return out[static_cast<size_t>(32 * i + lane)]; };
      const int part = lane / 8 * 8;
      CHECK_EQ(result(0), 5);
      CHECK_EQ(result(1), lane ^ 16);
      CHECK_EQ(result(2), lane < 3 ? lane : lane - 3);
      CHECK_EQ(result(3), lane > 28 ? lane : lane + 3);
      CHECK_EQ(result(4), part + 1);
      CHECK_EQ(result(5), lane % 16 < 8 ? lane : lane - 8);
      CHECK_EQ(result(6), lane - part < 3 ? lane : lane - 3);
      CHECK_EQ(result(7), lane - part > 4 ? lane : lane + 3);
      CHECK_EQ(result(8), (lane + 1) % 32);
    }
  });
}

TEST("emulator: votes and reductions, signed and unsigned") {
  for_every_order([] {
    const std::vector<int> out = run(vote_all, 1, 32, 8 * 32);
    for (size_t lane = 0; lane < 32; ++lane) {
      CHECK_EQ(static_cast<unsigned>(out[lane]), 0x49249249u);
      CHECK_EQ(out[32 + lane], 1);
      CHECK_EQ(out[64 + lane], 0);
      CHECK_EQ(out[96 + lane], 31 * 16 - 320);
      CHECK_EQ(out[128 + lane], -10);
      CHECK_EQ(out[160 + lane], -1);
      CHECK_EQ(static_cast<unsigned>(out[192 + lane]), 0x11111111u << (lane % 4));
      CHECK_EQ(out[224 + lane], -9);
    }
  });
}

TEST("emulator: parts of a warp go their own ways and meet again") {
  for_every_order([] {
    const std::vector<int> out = run(halves, 1, 32, 32);
    for (size_t lane = 0; lane < 32; ++lane) CHECK_EQ(out[lane], lane < 16 ? (16 + 31) * 8 : 122);
  });
}

TEST("emulator: a block's sum through shared memory and barriers") {
  for_every_order([] {
    const std::vector<int> out = run(block_sum, 5, 256, 5);
    for (int block = 0; block < 5; ++block) CHECK_EQ(out[static_cast<size_t>(block)], 255 * 128 * (block + 1) + 128);
  });
}

TEST("emulator: the last block sees what all others have left, through fences and an atomic counter") {
  for_every_order([] { CHECK_EQ(run(last_block_sums, 9, 64, 1 + 9 * 32 + 1, 9 * 32)[0], 32 * 36); });
}

TEST("emulator: atomic operations") {
  for_every_order([] {
    const std::vector<int> out = run(atomics, 3, 128, 5);
    CHECK(out == std::vector<int>({768, 127, -127, 1, 1}));
  });
}

TEST("emulator: indices of threads and blocks in three dimensions") {
  for_every_order([] {
    std::vector<int> expected(12 * 24);
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(run(indices, dim3(3, 2, 2), dim3(4, 3, 2), expected.size()) == expected);
  });
}
