// What goes wrong between the threads of a block, and between blocks.
#include <algorithm>

#include "seeded/bug.h"

using namespace lowrank;
using namespace lowrank::test;
namespace ptx = lowrank::cuda::ptx;

namespace {

constexpr unsigned kAll = 0xffffffffu;

template <bool bug>
LOWRANK_KERNEL(64, 1) missing_barrier(BugParams in) {
  LOWRANK_SHARED(int, values, 64);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (!bug) __syncthreads();
  in.out[threadIdx.x] = values[63 - threadIdx.x];
}

template <bool bug>
LOWRANK_KERNEL(64, 1) missing_barrier_before_overwriting(BugParams in) {
  LOWRANK_SHARED(int, values, 64);
  int sum = 0;
  for (int step = 0; step < 3; ++step) {
    values[threadIdx.x] = static_cast<int>(threadIdx.x) + 100 * step;
    __syncthreads();
    sum += values[63 - threadIdx.x];
    if (!bug) __syncthreads();
  }
  in.out[threadIdx.x] = sum;
}

template <bool bug>
LOWRANK_KERNEL(32, 1) missing_syncwarp(BugParams in) {
  LOWRANK_SHARED(int, values, 32);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (!bug) __syncwarp();
  in.out[threadIdx.x] = values[31 - threadIdx.x];
}

// A shuffle makes lanes wait for each other, but does not order their memory.
template <bool bug>
LOWRANK_KERNEL(32, 1) shuffle_in_place_of_syncwarp(BugParams in) {
  LOWRANK_SHARED(int, values, 32);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  const int zero = __shfl_sync(kAll, 0, 0);
  if (!bug) __syncwarp();
  in.out[threadIdx.x] = values[31 - threadIdx.x] + zero;
}

template <bool bug>
LOWRANK_KERNEL(64, 1) divergent_barrier(BugParams in) {
  LOWRANK_SHARED(int, values, 64);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (bug && threadIdx.x >= 40) return;
  __syncthreads();
  in.out[threadIdx.x] = values[63 - threadIdx.x];
}

template <bool bug>
LOWRANK_KERNEL(32, 1) shuffle_from_an_absent_lane(BugParams in) {
  const int value = static_cast<int>(threadIdx.x);
  if (threadIdx.x < 16) in.out[threadIdx.x] = __shfl_sync(0xffffu, value, bug ? 20 : 4);
}

template <bool bug>
LOWRANK_KERNEL(32, 1) missing_copy_wait(BugParams in) {
  LOWRANK_SHARED(int, values, 128);
  ptx::cp_async_16(values + 4 * threadIdx.x, in.in + 4 * threadIdx.x);
  ptx::cp_async_commit();
  if (!bug) ptx::cp_async_wait<0>();
  __syncthreads();
  in.out[threadIdx.x] = values[127 - threadIdx.x];
}

template <bool bug>
LOWRANK_KERNEL(64, 1) missing_barrier_after_copy(BugParams in) {
  LOWRANK_SHARED(int, values, 256);
  ptx::cp_async_16(values + 4 * threadIdx.x, in.in + 4 * threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  if (!bug) __syncthreads();
  in.out[threadIdx.x] = values[255 - threadIdx.x];
}

// Waits for one group too few.
template <bool bug>
LOWRANK_KERNEL(32, 1) wrong_copy_wait(BugParams in) {
  LOWRANK_SHARED(int, values, 2 * 128);
  for (int stage = 0; stage < 2; ++stage) {
    ptx::cp_async_16(values + 128 * stage + 4 * threadIdx.x, in.in + 128 * stage + 4 * threadIdx.x);
    ptx::cp_async_commit();
  }
  ptx::cp_async_wait<bug ? 1 : 0>();
  __syncthreads();
  in.out[threadIdx.x] = values[255 - threadIdx.x];
}

template <bool bug>
LOWRANK_KERNEL(32, 1) two_blocks_write_one_element(BugParams in) {
  const unsigned at = bug ? threadIdx.x + 31 * blockIdx.x : threadIdx.x + 32 * blockIdx.x;
  in.out[at] = static_cast<int>(threadIdx.x + 32 * blockIdx.x);
}

// Thread i of every block writes element i: a detector that takes threads of one index for one thread sees nothing.
template <bool bug>
LOWRANK_KERNEL(32, 1) every_block_writes_its_first_elements(BugParams in) {
  in.out[threadIdx.x + (bug ? 0 : 32 * blockIdx.x)] = static_cast<int>(threadIdx.x);
}

// Elements smaller than a word are told apart.
template <bool bug>
LOWRANK_KERNEL(32, 1) two_threads_write_one_byte(BugParams in) {
  LOWRANK_SHARED(int8_t, values, 36);
  values[threadIdx.x + (bug ? threadIdx.x % 2 : 0)] = static_cast<int8_t>(threadIdx.x);
  __syncthreads();
  in.out[threadIdx.x] = values[threadIdx.x];
}

// All have read what thread 0 overwrites, but some may not have yet.
template <bool bug>
LOWRANK_KERNEL(128, 1) overwritten_while_others_read(BugParams in) {
  LOWRANK_SHARED(int, values, 1);
  if (threadIdx.x == 0) values[0] = 1;
  __syncthreads();
  const int value = values[0];
  if (!bug) __syncthreads();
  if (threadIdx.x == 0) values[0] = 2;
  in.out[threadIdx.x] = value;
}

// A barrier orders one block alone.
template <bool bug>
LOWRANK_KERNEL(64, 1) block_reads_what_another_writes(BugParams in) {
  if (blockIdx.x == 0) in.out[threadIdx.x] = 1;
  __syncthreads();
  if (blockIdx.x == 1) in.out[64 + threadIdx.x] = bug ? in.out[63 - threadIdx.x] + 1 : 2;
}

// Half a warp meets; the other half is not waited for.
template <bool bug>
LOWRANK_KERNEL(32, 1) syncwarp_of_too_few_lanes(BugParams in) {
  LOWRANK_SHARED(int, values, 32);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (bug)
    __syncwarp(threadIdx.x < 16 ? 0xffffu : 0xffff0000u);
  else
    __syncwarp();
  in.out[threadIdx.x] = values[31 - threadIdx.x];
}

// Blocks leave a sum each; the last one adds them up. It need not see them without a fence before the counter, where they are
// left, and one after it, where they are read.
template <bool before, bool after>
LOWRANK_DEVICE void sum_by_last_block(const BugParams& in) {
  if (threadIdx.x != 0) return;
  in.out[2 + blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  if (before) __threadfence();
  const bool last = atomicAdd(&in.out[1], 1) == static_cast<int>(gridDim.x) - 1;
  if (after) __threadfence();
  if (!last) return;
  for (unsigned i = 0; i < gridDim.x; ++i) in.out[0] += in.out[2 + i];
  in.out[1] = 0;  // for the next launch
}
template <bool bug>
LOWRANK_KERNEL(32, 1) missing_fence_before(BugParams in) {
  sum_by_last_block<!bug, true>(in);
}
template <bool bug>
LOWRANK_KERNEL(32, 1) missing_fence_after(BugParams in) {
  sum_by_last_block<true, !bug>(in);
}

template <class Value>
std::vector<int> values(size_t count, Value value) {
  std::vector<int> all(count);
  for (size_t i = 0; i < count; ++i) all[i] = value(static_cast<int>(i));
  return all;
}
std::vector<int> reversed(size_t count) {
  return values(count, [&](int i) { return static_cast<int>(count) - 1 - i; });
}

}  // namespace

std::vector<Bug> lowrank::test::block_bugs() {
  return {
      {"missing_barrier", "result thread",
       [](bool bug) { return gives(bug ? missing_barrier<true> : missing_barrier<false>, 1, 64, reversed(64)); }},
      {"missing_barrier_before_overwriting", "result thread",
       [](bool bug) {
         return gives(bug ? missing_barrier_before_overwriting<true> : missing_barrier_before_overwriting<false>, 1, 64,
                      values(64, [](int i) { return 3 * (63 - i) + 300; }));
       }},
      {"missing_syncwarp", "result thread",
       [](bool bug) { return gives(bug ? missing_syncwarp<true> : missing_syncwarp<false>, 1, 32, reversed(32)); }},
      {"shuffle_in_place_of_syncwarp", "thread",
       [](bool bug) {
         return gives(bug ? shuffle_in_place_of_syncwarp<true> : shuffle_in_place_of_syncwarp<false>, 1, 32, reversed(32));
       }},
      {"divergent_barrier", "result",
       [](bool bug) { return gives(bug ? divergent_barrier<true> : divergent_barrier<false>, 1, 64, reversed(64)); }},
      {"shuffle_from_an_absent_lane", "result",
       [](bool bug) {
         return gives(bug ? shuffle_from_an_absent_lane<true> : shuffle_from_an_absent_lane<false>, 1, 32,
                      std::vector<int>(16, 4));
       }},
      {"missing_copy_wait", "result thread",
       [](bool bug) {
         return gives(bug ? missing_copy_wait<true> : missing_copy_wait<false>, 1, 32,
                      values(32, [](int i) { return 127 - i; }), 128);
       }},
      {"missing_barrier_after_copy", "result thread",
       [](bool bug) {
         return gives(bug ? missing_barrier_after_copy<true> : missing_barrier_after_copy<false>, 1, 64,
                      values(64, [](int i) { return 255 - i; }), 256);
       }},
      {"wrong_copy_wait", "result thread",
       [](bool bug) {
         return gives(bug ? wrong_copy_wait<true> : wrong_copy_wait<false>, 1, 32, values(32, [](int i) { return 255 - i; }),
                      256);
       }},
      {"two_blocks_write_one_element", "result thread",
       [](bool bug) {
         return gives(bug ? two_blocks_write_one_element<true> : two_blocks_write_one_element<false>, 3, 32,
                      values(96, [](int i) { return i; }));
       }},
      {"every_block_writes_its_first_elements", "thread",
       [](bool bug) {
         return gives(bug ? every_block_writes_its_first_elements<true> : every_block_writes_its_first_elements<false>, 200, 32,
                      values(bug ? 32 : 6400, [](int i) { return i % 32; }));
       }},
      {"two_threads_write_one_byte", "thread",
       [](bool bug) {
         return gives(bug ? two_threads_write_one_byte<true> : two_threads_write_one_byte<false>, 1, 32,
                      values(32, [](int i) { return i; }));
       }},
      {"overwritten_while_others_read", "thread",
       [](bool bug) {
         return gives(bug ? overwritten_while_others_read<true> : overwritten_while_others_read<false>, 1, 128,
                      std::vector<int>(128, 1));
       }},
      {"block_reads_what_another_writes", "result thread",
       [](bool bug) {
         return gives(bug ? block_reads_what_another_writes<true> : block_reads_what_another_writes<false>, 2, 64,
                      values(128, [](int i) { return i < 64 ? 1 : 2; }));
       }},
      {"syncwarp_of_too_few_lanes", "result thread",
       [](bool bug) {
         return gives(bug ? syncwarp_of_too_few_lanes<true> : syncwarp_of_too_few_lanes<false>, 1, 32, reversed(32));
       }},
      {"missing_fence_before", "thread",
       [](bool bug) {
         return gives(bug ? missing_fence_before<true> : missing_fence_before<false>, 4, 32, {10, 0, 1, 2, 3, 4});
       }},
      {"missing_fence_after", "thread",
       [](bool bug) {
         return gives(bug ? missing_fence_after<true> : missing_fence_after<false>, 4, 32, {10, 0, 1, 2, 3, 4});
       }},
  };
}
