// cp.async: what lies at the destination before, while and after somebody waits.
#include <numeric>

#include "emulation/kernel_case.h"

using namespace lowrank;
using namespace lowrank::test;
namespace ptx = lowrank::cuda::ptx;

namespace {

constexpr int kStages = 3;

struct Params {
  const int* from;  // [steps, 128]
  int* out;
  int steps;
};

// out[0..3]: before the wait, [4..7]: after it, [8..11]: of a copy of nothing.
LOWRANK_KERNEL(32, 1) look_at_copy(Params in) {
  LOWRANK_SHARED(int, there, 4 * 32);
  LOWRANK_SHARED(int, nothing, 4 * 32);
  const unsigned at = 4 * threadIdx.x;
  for (unsigned i = 0; i < 4; ++i) there[at + i] = nothing[at + i] = 7;
  ptx::cp_async_16(there + at, in.from + at);
  ptx::cp_async_16(nothing + at, in.from, false);
  ptx::cp_async_commit();
  if (threadIdx.x == 0) in.out[0] = there[0];
  ptx::cp_async_wait<0>();
  if (threadIdx.x == 0) {
    in.out[1] = there[0];
    in.out[2] = nothing[0];
  }
}

// A pipeline of three stages over the steps: each thread adds up its column.
LOWRANK_KERNEL(32, 1) pipeline(Params in) {
  LOWRANK_SHARED(int, stages, kStages * 128);
  const auto begin = [&](int step) {
    const unsigned at = 4 * threadIdx.x;
    if (step < in.steps) ptx::cp_async_16(stages + step % kStages * 128 + at, in.from + step * 128 + at);
    ptx::cp_async_commit();
  };
  for (int step = 0; step < kStages - 1; ++step) begin(step);
  int sum = 0;
  for (int step = 0; step < in.steps; ++step) {
    ptx::cp_async_wait<kStages - 2>();
    __syncthreads();
    begin(step + kStages - 1);
    sum += stages[step % kStages * 128 + threadIdx.x * 37 % 128];
  }
  in.out[threadIdx.x] = sum;
}

}  // namespace

TEST("emulator: a lazy copy is not there before the wait, an eager one is; a copy of nothing gives zeros") {
  for_every_order([] {
    const DeviceArray<int> from(std::vector<int>(128, 42)), out(3);
    CHECK_EQ(run_kernel(look_at_copy, 1, 32, Params{from.data(), out.data(), 1}), cudaSuccess);
    const std::vector<int> result = out.read();
    CHECK_EQ(result[0], emulator::settings().lazy_copies ? -1 : 42);
    CHECK_EQ(result[1], 42);
    CHECK_EQ(result[2], 0);
  });
}

TEST("emulator: a pipeline of copies gives the same in every order") {
  for_every_order([] {
    constexpr int kSteps = 7;
    std::vector<int> values(kSteps * 128);
    std::iota(values.begin(), values.end(), 0);
    const DeviceArray<int> from(values), out(32);
    CHECK_EQ(run_kernel(pipeline, 1, 32, Params{from.data(), out.data(), kSteps}), cudaSuccess);
    const std::vector<int> result = out.read();
    for (int thread = 0; thread < 32; ++thread) {
      int expected = 0;
      for (int step = 0; step < kSteps; ++step) expected += step * 128 + thread * 37 % 128;
      CHECK_EQ(result[static_cast<size_t>(thread)], expected);
    }
  });
}
