// The stand-in for the CUDA runtime: streams, events, graphs, memory, devices.
#include "emulation/kernel_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

struct Params {
  int* out;
  int add;
};
LOWRANK_KERNEL(1, 1) add_to(Params in) { *in.out = *in.out * 2 + in.add; }

struct Pinned {
  int* data = nullptr;
  Pinned() { CHECK_EQ(cudaMallocHost(&data, sizeof(int)), cudaSuccess); }
  ~Pinned() { cudaFreeHost(data); }
};

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  CHECK_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}

}  // namespace

TEST("emulator: pageable memory is read at the call, and written when it returns") {
  const DeviceArray<int> value(1);
  const cudaStream_t stream = new_stream();
  int host = 3, result = 0;
  CHECK_EQ(cudaMemcpyAsync(value.data(), &host, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  host = 4;
  CHECK_EQ(cudaMemcpyAsync(&result, value.data(), 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  CHECK_EQ(result, 3);
  cudaStreamDestroy(stream);
}

// These two race on purpose.
#if !defined(__SANITIZE_THREAD__)

namespace {

emulator::Settings lazy(bool lazy) {
  emulator::Settings settings = emulator::settings();
  settings.lazy_streams = lazy;
  return settings;
}

}  // namespace

TEST("emulator: work of a stream is done in order, and pinned memory is read when it is done") {
  for (const bool late : {true, false}) {
    const WithSettings with(lazy(late));
    const DeviceArray<int> value(1);
    const Pinned from, to;
    const cudaStream_t stream = new_stream();
    *from.data = 5;
    *to.data = -1;
    CHECK_EQ(cudaMemcpyAsync(value.data(), from.data, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
    CHECK_EQ(start_kernel(add_to, 1, 1, Params{value.data(), 1}, 0, stream), cudaSuccess);
    CHECK_EQ(cudaMemcpyAsync(to.data, value.data(), 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    *from.data = 100;  // too early: nobody has waited
    CHECK_EQ(*to.data, late ? -1 : 11);
    CHECK_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    CHECK_EQ(*to.data, late ? 201 : 11);
    CHECK_EQ(cudaStreamDestroy(stream), cudaSuccess);
    CHECK_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  }
}

TEST("emulator: only an event makes one stream wait for another") {
  for (const bool waits : {true, false}) {
    const WithSettings with(lazy(true));
    const DeviceArray<int> value(1);
    const cudaStream_t first = new_stream(), second = new_stream();
    cudaEvent_t event = nullptr;
    CHECK_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    CHECK_EQ(start_kernel(add_to, 1, 1, Params{value.data(), 3}, 0, first), cudaSuccess);
    CHECK_EQ(cudaEventRecord(event, first), cudaSuccess);
    if (waits) CHECK_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
    CHECK_EQ(start_kernel(add_to, 1, 1, Params{value.data(), 10}, 0, second), cudaSuccess);
    CHECK_EQ(cudaStreamSynchronize(second), cudaSuccess);
    CHECK_EQ(cudaEventQuery(event), waits ? cudaSuccess : cudaErrorNotReady);
    CHECK_EQ(cudaEventSynchronize(event), cudaSuccess);
    CHECK_EQ(cudaDeviceSynchronize(), cudaSuccess);
    CHECK_EQ(value.read()[0], waits ? 16 : 23);
    cudaEventDestroy(event);
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
  }
}

#endif

TEST("emulator: a captured graph runs as often as it is launched, with the parameters of its capture") {
  const DeviceArray<int> value(1);
  const cudaStream_t stream = new_stream();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  CHECK_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  for (int add = 1; add <= 2; ++add) CHECK_EQ(start_kernel(add_to, 1, 1, Params{value.data(), add}, 0, stream), cudaSuccess);
  CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  CHECK_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  CHECK_EQ(cudaGraphDestroy(graph), cudaSuccess);
  CHECK_EQ(value.read()[0], 0);
  for (int i = 0; i < 2; ++i) CHECK_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  CHECK_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  CHECK_EQ(value.read()[0], (4 * 4) + 4);
  CHECK_EQ(cudaGraphExecDestroy(executable), cudaSuccess);

  CHECK_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  CHECK_EQ(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorIllegalState);
  CHECK_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  cudaStreamDestroy(stream);
  emulator::recover();
}

TEST("emulator: memory is garbage at first, ends where it ends, and is counted by device") {
  emulator::Settings settings = emulator::settings();
  settings.memory_bytes = 1 << 20;
  settings.devices = 2;
  const WithSettings with(settings);
  size_t free_before = 0, free_after = 0, total = 0;
  CHECK_EQ(cudaMemGetInfo(&free_before, &total), cudaSuccess);
  CHECK_EQ(total, size_t{1} << 20);
  uint8_t* data = nullptr;
  CHECK_EQ(cudaMalloc(&data, 1000), cudaSuccess);
  CHECK_EQ(reinterpret_cast<uintptr_t>(data) % 256, 0u);
  CHECK_EQ(cudaMemGetInfo(&free_after, &total), cudaSuccess);
  CHECK_EQ(free_before - free_after, 1000u);
  std::vector<uint8_t> host(1000);
  CHECK_EQ(cudaMemcpy(host.data(), data, 1000, cudaMemcpyDeviceToHost), cudaSuccess);
  CHECK_EQ(host[0], 0xff);
  uint8_t* more = nullptr;
  CHECK_EQ(cudaMalloc(&more, free_after + 1), cudaErrorMemoryAllocation);
  CHECK_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  CHECK_EQ(cudaGetLastError(), cudaSuccess);
  CHECK_EQ(cudaSetDevice(1), cudaSuccess);
  CHECK_EQ(cudaMalloc(&more, free_after + 1), cudaSuccess);
  CHECK_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  CHECK_EQ(cudaSetDevice(0), cudaSuccess);
  CHECK_EQ(cudaFree(more), cudaSuccess);
  CHECK_EQ(cudaFree(data), cudaSuccess);
  CHECK_EQ(cudaFree(data), cudaErrorInvalidDevicePointer);
  CHECK_EQ(cudaFree(nullptr), cudaSuccess);
  emulator::recover();
}

TEST("emulator: the n-th launch fails where a fault is asked for") {
  emulator::Settings settings = emulator::settings();
  settings.fault_at_launch = 2;
  const WithSettings with(settings);
  const DeviceArray<int> value(1);
  CHECK_EQ(run_kernel(add_to, 1, 1, Params{value.data(), 1}), cudaSuccess);
  CHECK_EQ(run_kernel(add_to, 1, 1, Params{value.data(), 1}), cudaErrorIllegalAddress);
  CHECK_EQ(cudaStreamSynchronize(nullptr), cudaErrorIllegalAddress);
  emulator::recover();
  CHECK_EQ(value.read()[0], 1);
}
