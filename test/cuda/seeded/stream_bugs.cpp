// What goes wrong between the host and streams.
#include "seeded/bug.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

LOWRANK_KERNEL(1, 1) double_it(BugParams in) { in.out[0] = in.in[0] * 2; }

struct Streams {
  cudaStream_t first = nullptr, second = nullptr;
  int* pinned = nullptr;
  Streams() {
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    cudaMallocHost(&pinned, sizeof(int));
  }
  ~Streams() {
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
    cudaFreeHost(pinned);
  }
};

// The host fills a staging buffer again while its copy is under way.
bool staging_buffer_used_again(bool bug) {
  const DeviceArray<int> in(1), out(1);
  const Streams streams;
  streams.pinned[0] = 5;
  cudaMemcpyAsync(in.data(), streams.pinned, 4, cudaMemcpyHostToDevice, streams.first);
  if (!bug) cudaStreamSynchronize(streams.first);
  streams.pinned[0] = 6;
  start_kernel(double_it, 1, 1, BugParams{out.data(), in.data(), 1}, 0, streams.first);
  cudaStreamSynchronize(streams.first);
  return out.read()[0] == 10;
}

// The host reads a result that has not arrived.
bool result_read_too_early(bool bug) {
  const DeviceArray<int> in(std::vector<int>{4}), out(1);
  const Streams streams;
  streams.pinned[0] = 0;
  start_kernel(double_it, 1, 1, BugParams{out.data(), in.data(), 1}, 0, streams.first);
  cudaMemcpyAsync(streams.pinned, out.data(), 4, cudaMemcpyDeviceToHost, streams.first);
  if (!bug) cudaStreamSynchronize(streams.first);
  return streams.pinned[0] == 8;
}

LOWRANK_KERNEL(1, 1) reader_with_missing_event_wait(BugParams in) { in.out[0] = in.in[0] * 2; }

// A kernel of one stream reads what another stream copies.
bool missing_event_wait(bool bug) {
  const DeviceArray<int> in(1), out(1);
  const Streams streams;
  cudaEvent_t copied = nullptr;
  cudaEventCreateWithFlags(&copied, cudaEventDisableTiming);
  streams.pinned[0] = 7;
  cudaMemcpyAsync(in.data(), streams.pinned, 4, cudaMemcpyHostToDevice, streams.first);
  cudaEventRecord(copied, streams.first);
  if (!bug) cudaStreamWaitEvent(streams.second, copied, 0);
  start_kernel(reader_with_missing_event_wait, 1, 1, BugParams{out.data(), in.data(), 1}, 0, streams.second);
  cudaStreamSynchronize(streams.second);
  cudaStreamSynchronize(streams.first);
  cudaEventDestroy(copied);
  return out.read()[0] == 14;
}

bool host_pointer_for_a_kernel(bool bug) {
  const DeviceArray<int> in(std::vector<int>{4}), out(1);
  std::vector<int> host{4};
  const cudaError_t error = run_kernel(double_it, 1, 1, BugParams{out.data(), bug ? host.data() : in.data(), 1});
  return error == cudaSuccess && out.read()[0] == 8;
}

LOWRANK_KERNEL(1, 1) much_shared_memory(BugParams in) {
  LOWRANK_DYNAMIC_SHARED(int, values);
  values[15000] = 1;
  in.out[0] = values[15000];
}
bool missing_opt_in(bool bug) {
  const void* const kernel = reinterpret_cast<const void*>(static_cast<BugKernel>(much_shared_memory));
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bug ? 0 : 60016);
  return gives(much_shared_memory, 1, 1, {1}, 0, 60016);
}

}  // namespace

std::vector<Bug> lowrank::test::stream_bugs() {
  return {
      {"staging_buffer_used_again", "result thread", staging_buffer_used_again},
      {"result_read_too_early", "result thread", result_read_too_early},
      {"missing_event_wait", "result thread", missing_event_wait},
      {"host_pointer_for_a_kernel", "result", host_pointer_for_a_kernel},
      {"missing_opt_in", "result", missing_opt_in},
  };
}
