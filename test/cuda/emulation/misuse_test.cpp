// What breaks the rules is refused with a sentence and an error that stays, and never ends the process.
#include "emulation/kernel_case.h"

using namespace lowrank;
using namespace lowrank::test;
namespace ptx = lowrank::cuda::ptx;

namespace {

constexpr unsigned kAll = 0xffffffffu;

struct Params {
  int* out;
};

LOWRANK_KERNEL(64, 1) one_warp_at_the_barrier(Params) {
  if (threadIdx.x < 32) __syncthreads();
}
LOWRANK_KERNEL(32, 1) two_barriers_in_one_warp(Params) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
}
LOWRANK_KERNEL(64, 1) barrier_against_shuffle(Params in) {
  if (threadIdx.x < 16)
    in.out[0] = __shfl_sync(kAll, 1, 0);
  else
    __syncthreads();
}
LOWRANK_KERNEL(32, 1) without_itself(Params) { __syncwarp(0xfffffffeu); }
LOWRANK_KERNEL(16, 1) beyond_the_block(Params) { __syncwarp(); }
LOWRANK_KERNEL(32, 1) with_ended_lanes(Params) {
  if (threadIdx.x >= 8) return;
  for (int i = 0; i < 2; ++i) __syncwarp(0xffu);
  __syncwarp();
}
LOWRANK_KERNEL(32, 1) from_an_absent_lane(Params in) {
  if (threadIdx.x < 16) in.out[0] = __shfl_sync(0xffffu, 1, 20);
}
LOWRANK_KERNEL(32, 1) different_instructions(Params in) {
  if (threadIdx.x < 16)
    in.out[0] = __shfl_sync(kAll, 1, 0);
  else
    in.out[1] = static_cast<int>(__ballot_sync(kAll, 1));
}
LOWRANK_KERNEL(32, 1) mma_at_two_places(Params in) {
  int32_t d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16)
    ptx::mma_m16n8k32_s8(d, a, b);
  else
    ptx::mma_m16n8k32_s8(d, a, b);
  in.out[threadIdx.x] = d[0];
}
LOWRANK_KERNEL(32, 1) misaligned_ldmatrix(Params in) {
  LOWRANK_SHARED(uint8_t, rows, 1024);
  uint32_t r[4];
  ptx::ldmatrix_x4(r, rows + 16 * threadIdx.x + 4);
  in.out[threadIdx.x] = static_cast<int>(r[0]);
}
LOWRANK_KERNEL(32, 1) ldmatrix_of_global(Params in) {
  uint32_t r[4];
  ptx::ldmatrix_x4(r, in.out);
  in.out[threadIdx.x] = static_cast<int>(r[0]);
}
LOWRANK_KERNEL(32, 1) misaligned_load(Params in) {
  in.out[threadIdx.x] = static_cast<int>(ptx::load_streaming_16(in.out + 1).x);
}
LOWRANK_KERNEL(32, 1) load_beyond(Params in) {
  in.out[threadIdx.x] = static_cast<int>(ptx::load_streaming_16(in.out + 64).x);
}
LOWRANK_KERNEL(32, 1) copy_across_arrays(Params in) {
  LOWRANK_SHARED(int, first, 6);
  LOWRANK_SHARED(int, second, 8);
  ptx::cp_async_16(first + 4, in.out);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  second[0] = first[0];
}
LOWRANK_KERNEL(32, 1) misaligned_copy(Params in) {
  LOWRANK_SHARED(int, there, 64);
  ptx::cp_async_16(there, in.out + 2);
}
LOWRANK_KERNEL(32, 1) misaligned_atomic(Params in) {
  atomicAdd(reinterpret_cast<int*>(reinterpret_cast<char*>(in.out) + 2), 1);
}
LOWRANK_KERNEL(32, 1) much_static_memory(Params in) {
  LOWRANK_SHARED(int, many, 16 << 10);
  many[threadIdx.x] = 1;
  in.out[threadIdx.x] = many[threadIdx.x];
}
LOWRANK_KERNEL(1024, 1) harmless(Params in) { in.out[0] = 1; }

struct Broken {
  void (*kernel)(Params);
  unsigned threads;
  cudaError_t error;
  const char* words;  // of the sentence
};

const Broken kBroken[] = {
    {one_warp_at_the_barrier, 64, cudaErrorLaunchFailure, "all threads at the barrier of misuse_test.cpp:"},
    {two_barriers_in_one_warp, 32, cudaErrorLaunchFailure, "the lanes of a warp at one barrier"},
    {barrier_against_shuffle, 64, cudaErrorLaunchFailure, "and one at the barrier of misuse_test.cpp"},
    {without_itself, 32, cudaErrorLaunchFailure, "a mask with lane 0 itself for __syncwarp"},
    {beyond_the_block, 16, cudaErrorLaunchFailure, "a mask of lanes that run"},
    {with_ended_lanes, 32, cudaErrorLaunchFailure, "received 24 of 32 that have ended"},
    {from_an_absent_lane, 32, cudaErrorLaunchFailure, "a shuffle from a lane of its mask, received lane 20"},
    {different_instructions, 32, cudaErrorLaunchFailure, "received a ballot"},
    {mma_at_two_places, 32, cudaErrorLaunchFailure, "received mma.m16n8k32.s8"},
    {misaligned_ldmatrix, 32, cudaErrorMisalignedAddress, "a multiple of 16 for ldmatrix"},
    {ldmatrix_of_global, 32, cudaErrorIllegalAddress, "shared memory for ldmatrix"},
    {misaligned_load, 32, cudaErrorMisalignedAddress, "for load_streaming_16"},
    {load_beyond, 32, cudaErrorIllegalAddress, "one allocation of the device's memory for load_streaming_16"},
    {copy_across_arrays, 32, cudaErrorIllegalAddress, "for cp.async into shared memory"},
    {misaligned_copy, 32, cudaErrorMisalignedAddress, "for cp.async from global memory"},
    {misaligned_atomic, 32, cudaErrorMisalignedAddress, "for an atomic operation"},
    {much_static_memory, 32, cudaErrorInvalidValue, "at most 49152 bytes of shared memory"},
};

bool contains(const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; }

}  // namespace

TEST("emulator: a kernel that breaks a rule ends with an error that names rule and place, and stays") {
  for (const Broken& broken : kBroken) {
    for_every_order([&] {
      const DeviceArray<int> out(64);
      // Not every order meets the same lane first.
      const bool any_order = emulator::settings().order == emulator::Order::kAscending;
      CHECK_EQ(run_kernel(broken.kernel, 2, broken.threads, Params{out.data()}), broken.error);
      if (any_order && !contains(emulator::misuse(), broken.words)) fail(__FILE__, __LINE__, emulator::misuse());
      if (any_order) CHECK(contains(cudaGetErrorString(broken.error), broken.words));
      CHECK_EQ(run_kernel(harmless, 1, 1, Params{out.data()}), broken.error);
      emulator::recover();
      CHECK_EQ(run_kernel(harmless, 1, 1, Params{out.data()}), cudaSuccess);
      CHECK_EQ(out.read()[0], 1);
    });
  }
}

TEST("emulator: wrong launches are refused, and the device lives on") {
  const DeviceArray<int> out(64);
  const Params params{out.data()};
  CHECK_EQ(run_kernel(harmless, 1, 1025, params), cudaErrorInvalidConfiguration);
  CHECK_EQ(run_kernel(harmless, 1, dim3(1, 1, 65), params), cudaErrorInvalidConfiguration);
  CHECK_EQ(run_kernel(harmless, 1, 0u, params), cudaErrorInvalidConfiguration);
  CHECK_EQ(run_kernel(harmless, dim3(1, 65536), 1, params), cudaErrorInvalidConfiguration);
  CHECK_EQ(run_kernel(harmless, 0u, 1, params), cudaErrorInvalidConfiguration);
  CHECK_EQ(run_kernel(harmless, 1, 1, params, (48 << 10) + 1), cudaErrorInvalidValue);
  const void* const kernel = reinterpret_cast<const void*>(static_cast<void (*)(Params)>(harmless));
  CHECK_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20), cudaErrorInvalidValue);
  CHECK_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10), cudaSuccess);
  CHECK_EQ(run_kernel(harmless, 1, 1, params, 64 << 10), cudaSuccess);
  int on_the_stack = 0;
  CHECK_EQ(run_kernel(harmless, 1, 1, Params{&on_the_stack}), cudaErrorInvalidValue);
  // A word whose lower half is a number below 2^20 passes for two integers, so the address is one that has more there.
  std::vector<int> on_the_heap(1 << 19);
  const bool low = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(on_the_heap.data())) < 1 << 20;
  CHECK_EQ(run_kernel(harmless, 1, 1, Params{on_the_heap.data() + (low ? 1 << 18 : 0)}), cudaErrorInvalidValue);
  CHECK(contains(cudaGetErrorString(cudaErrorInvalidValue), "received a host pointer at byte 0"));
  CHECK_EQ(run_kernel(harmless, 1, 1, params), cudaSuccess);
  CHECK_EQ(out.read()[0], 1);
  emulator::recover();
}

TEST("emulator: copies refuse pointers of the wrong side, and more than an allocation holds") {
  const DeviceArray<int> device(16);
  std::vector<int> host(64);
  const auto refused = [&](void* to, const void* from, size_t bytes, cudaMemcpyKind kind, const char* words) {
    CHECK_EQ(cudaMemcpy(to, from, bytes, kind), cudaErrorInvalidValue);
    CHECK(contains(cudaGetErrorString(cudaErrorInvalidValue), words));
  };
  refused(host.data(), host.data() + 32, 64, cudaMemcpyHostToDevice, "device memory for the destination");
  refused(host.data(), host.data() + 32, 64, cudaMemcpyDeviceToHost, "device memory for the source");
  refused(device.data(), device.data(), 64, cudaMemcpyHostToDevice, "host memory for the source");
  refused(device.data(), host.data(), 65, cudaMemcpyHostToDevice, "one allocation that holds the destination");
  refused(host.data(), device.data() + 1, 64, cudaMemcpyDeviceToHost, "one allocation that holds the source");
  CHECK_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  CHECK_EQ(cudaFree(device.data() + 1), cudaErrorInvalidDevicePointer);
  CHECK_EQ(cudaFreeHost(host.data()), cudaErrorInvalidValue);
  CHECK_EQ(cudaMemcpy(device.data(), host.data(), 64, cudaMemcpyDefault), cudaSuccess);
  emulator::recover();
}
