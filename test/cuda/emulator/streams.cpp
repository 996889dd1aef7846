#include "emulator/streams.h"

#include <cstring>
#include <vector>

#include "emulator/block.h"
#include "emulator/device_memory.h"
#include "emulator/sanitizers.h"

namespace lowrank::emulator {

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

struct Streams {
  Stream* default_stream;
  std::vector<Stream*> all;
};
Stream* make_stream(bool blocking) { return new Stream{blocking, {}, nullptr, order::begin_line(), {}}; }
Streams& streams() {
  static Streams* const streams = [] {
    Stream* const first = make_stream(true);
    return new Streams{first, {first}};
  }();
  return *streams;
}

void run_next(Stream& stream) {
  std::unique_ptr<Operation> operation = std::move(stream.operations.front());
  stream.operations.pop_front();
  order::Line* const line = order::current_line();
  order::go_on_as(stream.line.get());
  order::acquire(operation->submitted);
  std::unique_ptr<Misuse> broken;
  try {
    if (device_error() == cudaSuccess) operation->run();
  } catch (const Misuse& misuse) {
    broken = std::make_unique<Misuse>(misuse);
  }
  const std::shared_ptr<EventRecord> record = std::move(operation->record);
  operation.reset();
  order::release(stream.done);
  order::go_on_as(line);
  if (broken) {
    break_device(static_cast<cudaError_t>(broken->error), broken->text);
    broken.reset();
  }
  if (!record) return;
  record->when = std::chrono::steady_clock::now();
}

cudaError_t refuse_capture(Stream& stream) {
  stream.captured->invalid = true;
  return refuse(cudaErrorStreamCaptureUnsupported, "Expected no wait for a stream while it captures, received one.");
}

// The legacy default stream and the blocking ones wait for each other.
void drain_others(const Stream& stream) {
  if (!stream.blocking) return;
  for (Stream* other : streams().all)
    if (other != &stream && other->blocking && (&stream == streams().default_stream || other == streams().default_stream))
      drain(*other);
}

// Null: all is well.
std::string wrong_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind& kind) {
  DeviceMemory& memory = device_memory();
  if (kind == cudaMemcpyDefault)
    kind = static_cast<cudaMemcpyKind>((memory.is_device(to) ? 1 : 0) + (memory.is_device(from) ? 2 : 0));
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDeviceToDevice)
    return "Expected a direction for a copy, received another value.";
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const auto wrong = [&](const void* data, bool device, const char* side) -> std::string {
    if (device && !memory.is_device(data))
      return std::string("Expected device memory for the ") + side + " of a copy, received a host pointer.";
    if (device && !memory.holds(data, bytes))
      return std::string("Expected one allocation that holds the ") + side + " of a copy, received " + std::to_string(bytes) +
             " bytes that leave theirs.";
    if (!device && memory.is_device(data))
      return std::string("Expected host memory for the ") + side + " of a copy, received a device pointer.";
    return "";
  };
  std::string text = wrong(to, to_device, "destination");
  return text.empty() ? wrong(from, from_device, "source") : text;
}

}  // namespace

Stream* find_stream(Stream* stream) {
  if (stream == nullptr) return streams().default_stream;
  for (Stream* known : streams().all)
    if (known == stream) return stream;
  return nullptr;
}

void drain(Stream& stream) {
  while (!stream.operations.empty()) run_next(stream);
}

void drain_every_stream() {
  for (Stream* stream : streams().all) {
    drain(*stream);
    order::acquire(stream->done);
  }
}

cudaError_t submit(Stream* handle, std::function<void()> run, std::shared_ptr<EventRecord> record) {
  if (device_error() != cudaSuccess) return noted(device_error());
  Stream* const stream = find_stream(handle);
  if (stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->captured) {
    stream->captured->operations.push_back(std::move(run));
    return cudaSuccess;
  }
  drain_others(*stream);
  stream->operations.push_back(std::make_unique<Operation>(Operation{std::move(run), std::move(record), {}}));
  order::release(stream->operations.back()->submitted);
  if (!settings().lazy_streams) drain(*stream);
  return noted(device_error());
}

}  // namespace lowrank::emulator

using namespace lowrank::emulator;

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(runtime_mutex());
  drain_every_stream();
  return noted(device_error());
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  if (bytes == 0) return noted(device_error());
  const std::string wrong = wrong_copy(to, from, bytes, kind);
  if (!wrong.empty()) return refuse(cudaErrorInvalidValue, wrong);
  const bool to_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
  const bool from_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
  // What is not pinned is read at once, and written when the call returns, as the runtime does.
  if (from_host && !is_pinned(from)) {
    const uint8_t* const data = static_cast<const uint8_t*>(from);
    auto staged = std::make_shared<std::vector<uint8_t>>(data, data + bytes);
    return submit(stream, [to, staged = std::move(staged)] {
      sanitizers::note_write(to, staged->size());
      std::memcpy(to, staged->data(), staged->size());
    });
  }
  const cudaError_t error = submit(stream, [to, from, bytes] {
    sanitizers::note_read(from, bytes);
    sanitizers::note_write(to, bytes);
    std::memmove(to, from, bytes);
  });
  if (error != cudaSuccess || !to_host || is_pinned(to)) return error;
  return cudaStreamSynchronize(stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock(runtime_mutex());
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error != cudaSuccess ? error : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  if (bytes != 0 && !device_memory().holds(to, bytes))
    return refuse(cudaErrorInvalidValue, "Expected one allocation that holds what cudaMemset sets, received another address.");
  return submit(stream, [to, value, bytes] {
    sanitizers::note_write(to, bytes);
    std::memset(to, value, bytes);
  });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const Lock lock(runtime_mutex());
  if (device_error() != cudaSuccess) return noted(device_error());
  *stream = make_stream((flags & cudaStreamNonBlocking) == 0);
  streams().all.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  if (stream == nullptr || find_stream(stream) == nullptr) return noted(cudaErrorInvalidResourceHandle);
  drain(*stream);
  std::erase(streams().all, stream);
  delete stream;
  return noted(device_error());
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const Lock lock(runtime_mutex());
  Stream* const stream = find_stream(handle);
  if (stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->captured) return refuse_capture(*stream);
  drain_others(*stream);
  drain(*stream);
  order::acquire(stream->done);
  return noted(device_error());
}

// Each call does one piece of the work, so that who asks again and again comes to an end.
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const Lock lock(runtime_mutex());
  Stream* const stream = find_stream(handle);
  if (stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->captured) return refuse_capture(*stream);
  if (!stream->operations.empty()) {
    run_next(*stream);
    return device_error() != cudaSuccess ? noted(device_error()) : cudaErrorNotReady;
  }
  order::acquire(stream->done);
  return noted(device_error());
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(runtime_mutex());
  if (event == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (!event->last) return noted(device_error());
  return submit(stream, [record = event->last] {
    while (!record->done && !record->stream->operations.empty()) run_next(*record->stream);
    order::acquire(record->point);
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const Lock lock(runtime_mutex());
  *event = new Event;
  return noted(device_error());
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  delete event;
  return noted(device_error());
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  const Lock lock(runtime_mutex());
  Stream* const stream = find_stream(handle);
  if (event == nullptr || stream == nullptr) return noted(cudaErrorInvalidResourceHandle);
  auto record = std::make_shared<EventRecord>(EventRecord{stream});
  const auto done = [record] {
    record->done = true;
    order::release(record->point);
  };
  const cudaError_t error = submit(handle, done, record);
  if (error == cudaSuccess) event->last = record;
  return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  if (event == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (!event->last) return noted(device_error());
  EventRecord& record = *event->last;
  while (!record.done && !record.stream->operations.empty()) run_next(*record.stream);
  order::acquire(record.point);
  return noted(device_error());
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(runtime_mutex());
  if (event == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (device_error() != cudaSuccess) return noted(device_error());
  if (!event->last) return cudaSuccess;
  EventRecord& record = *event->last;
  if (!record.done) {
    run_next(*record.stream);
    return device_error() != cudaSuccess ? noted(device_error()) : cudaErrorNotReady;
  }
  order::acquire(record.point);
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Lock lock(runtime_mutex());
  if (begin == nullptr || end == nullptr || !begin->last || !end->last) return noted(cudaErrorInvalidResourceHandle);
  if (!begin->last->done || !end->last->done) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->last->when - begin->last->when).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  const Lock lock(runtime_mutex());
  Stream* const stream = find_stream(handle);
  if (stream == nullptr || handle == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->captured) return noted(cudaErrorIllegalState);
  stream->captured = std::make_unique<Graph>();
  return noted(device_error());
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  const Lock lock(runtime_mutex());
  Stream* const stream = find_stream(handle);
  if (stream == nullptr || !stream->captured) return noted(cudaErrorIllegalState);
  std::unique_ptr<Graph> captured = std::move(stream->captured);
  *graph = captured->invalid ? nullptr : captured.release();
  return noted(*graph == nullptr ? cudaErrorStreamCaptureInvalidated : device_error());
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return noted(cudaErrorInvalidValue);
  *executable = new ExecutableGraph{std::make_shared<const Graph>(*graph)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Lock lock(runtime_mutex());
  if (executable == nullptr) return noted(cudaErrorInvalidResourceHandle);
  return submit(stream, [graph = executable->graph] {
    for (const auto& operation : graph->operations) operation();
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
