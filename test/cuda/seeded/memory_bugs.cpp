// What goes wrong between a thread and memory.
#include "seeded/bug.h"

using namespace lowrank;
using namespace lowrank::test;
namespace ptx = lowrank::cuda::ptx;

namespace {

template <bool bug>
LOWRANK_KERNEL(32, 1) store_out_of_bounds(BugParams in) {
  if (threadIdx.x < static_cast<unsigned>(in.count) + (bug ? 1 : 0)) in.out[threadIdx.x] = 1;
}

template <bool bug>
LOWRANK_KERNEL(32, 1) load_out_of_bounds(BugParams in) {
  if (threadIdx.x < static_cast<unsigned>(in.count)) in.out[threadIdx.x] = in.in[threadIdx.x + (bug ? 8 : 0)] - (bug ? 8 : 0);
}

template <bool bug>
LOWRANK_KERNEL(32, 1) store_beyond_a_shared_array(BugParams in) {
  LOWRANK_SHARED(int, first, 32);
  LOWRANK_SHARED(int, second, 32);
  second[threadIdx.x] = 1;
  first[threadIdx.x + (bug ? 1 : 0)] = 2;
  __syncthreads();
  in.out[threadIdx.x] = second[threadIdx.x];
}

template <bool bug>
LOWRANK_KERNEL(32, 1) store_beyond_dynamic_shared_memory(BugParams in) {
  LOWRANK_DYNAMIC_SHARED(int, values);
  values[threadIdx.x + (bug ? 1 : 0)] = 1;
  in.out[threadIdx.x] = values[threadIdx.x + (bug ? 1 : 0)];
}

template <bool bug>
LOWRANK_KERNEL(32, 1) misaligned_vector_load(BugParams in) {
  const uint4 value = *reinterpret_cast<const uint4*>(in.in + (bug ? 2 : 0));
  in.out[threadIdx.x] = static_cast<int>(value.w - value.z);
}

template <bool bug>
LOWRANK_KERNEL(32, 1) misaligned_streaming_load(BugParams in) {
  const uint4 value = ptx::load_streaming_16(in.in + (bug ? 2 : 0));
  in.out[threadIdx.x] = static_cast<int>(value.w - value.z);
}

template <bool bug>
LOWRANK_KERNEL(32, 1) shared_memory_taken_for_cleared(BugParams in) {
  LOWRANK_SHARED(int, sum, 1);
  if (!bug && threadIdx.x == 0) sum[0] = 0;
  __syncthreads();
  atomicAdd(&sum[0], 1);
  __syncthreads();
  in.out[threadIdx.x] = sum[0];
}

template <bool bug>
LOWRANK_KERNEL(1, 1) signed_overflow(BugParams in) {
  in.out[0] = (bug ? 0x7fffffff : 0x7ffffffe) + in.in[1];
}

// Memory of the device that nobody has written to.
LOWRANK_KERNEL(32, 1) device_memory_taken_for_cleared(BugParams in) { in.out[threadIdx.x] += 1; }
bool run_on_fresh_memory(bool bug) {
  int* data = nullptr;
  std::vector<int> result(32);
  cudaMalloc(&data, 128);
  if (!bug) cudaMemset(data, 0, 128);
  const bool ran = run_kernel(device_memory_taken_for_cleared, 1, 32, BugParams{data, nullptr, 0}) == cudaSuccess;
  cudaMemcpy(result.data(), data, 128, cudaMemcpyDeviceToHost);
  cudaFree(data);
  return ran && result == std::vector<int>(32, 1);
}

LOWRANK_KERNEL(32, 1) use_after_free(BugParams in) { in.out[threadIdx.x] = 1; }
bool run_after_free(bool bug) {
  const DeviceArray<int> other(32);
  int* data = nullptr;
  cudaMalloc(&data, 128);
  if (bug) cudaFree(data);
  const bool ran = run_kernel(use_after_free, 1, 32, BugParams{data, nullptr, 0}) == cudaSuccess;
  if (!bug) cudaFree(data);
  return ran;
}

const std::vector<int> kOnes(32, 1);

}  // namespace

std::vector<Bug> lowrank::test::memory_bugs() {
  return {
      {"store_out_of_bounds", "address",
       [](bool bug) { return gives(bug ? store_out_of_bounds<true> : store_out_of_bounds<false>, 1, 32, {1, 1, 1, 1, 1}); }},
      {"load_out_of_bounds", "address",
       [](bool bug) { return gives(bug ? load_out_of_bounds<true> : load_out_of_bounds<false>, 1, 32, {0, 1, 2, 3, 4}, 12); }},
      {"store_beyond_a_shared_array", "address",
       [](bool bug) {
         return gives(bug ? store_beyond_a_shared_array<true> : store_beyond_a_shared_array<false>, 1, 32, kOnes);
       }},
      {"store_beyond_dynamic_shared_memory", "address",
       [](bool bug) {
         return gives(bug ? store_beyond_dynamic_shared_memory<true> : store_beyond_dynamic_shared_memory<false>, 1, 32, kOnes,
                      0, 128);
       }},
      {"misaligned_vector_load", "address",
       [](bool bug) { return gives(bug ? misaligned_vector_load<true> : misaligned_vector_load<false>, 1, 32, kOnes, 8); }},
      {"misaligned_streaming_load", "result",
       [](bool bug) { return gives(bug ? misaligned_streaming_load<true> : misaligned_streaming_load<false>, 1, 32, kOnes, 8); }},
      {"shared_memory_taken_for_cleared", "result",
       [](bool bug) {
         return gives(bug ? shared_memory_taken_for_cleared<true> : shared_memory_taken_for_cleared<false>, 1, 32,
                      std::vector<int>(32, 32));
       }},
      {"signed_overflow", "address",
       [](bool bug) { return gives(bug ? signed_overflow<true> : signed_overflow<false>, 1, 1, {0x7fffffff}, 2); }},
      {"device_memory_taken_for_cleared", "result", run_on_fresh_memory},
      {"use_after_free", "address", run_after_free},
  };
}
