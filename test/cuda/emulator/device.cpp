// The emulated devices: what they are, their errors, their memory.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "emulator/device_memory.h"
#include "emulator/races.h"
#include "emulator/runtime.h"

namespace lowrank::emulator {

Counters counted{};

namespace {

struct State {
  std::recursive_mutex mutex;
  cudaError_t broken = cudaSuccess;
  std::string misuse;
  std::map<int, const char*> texts;  // by error, in place of the common one
  std::set<std::string> all_texts;   // lives on, for those who hold a pointer
  std::map<const void*, size_t> pinned;
};
State& state() {
  static State* const state = new State;  // outlives every static object that calls in here
  return *state;
}

thread_local cudaError_t last_error = cudaSuccess;
thread_local int device_of_thread = 0;

void refuse_setting(const char* name, const char* expected, const char* value) {
  std::fprintf(stderr, "Expected %s for %s, received %s. The default is taken.\n", expected, name, value);
}

void read_number(const char* name, long long least, long long& into) {
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == '\0') return;
  char* end = nullptr;
  const long long number = std::strtoll(value, &end, 10);
  if (*end != '\0' || number < least) return refuse_setting(name, "a whole number", value);
  into = number;
}
template <class T>
void read_number(const char* name, long long least, T& into) {
  long long number = static_cast<long long>(into);
  read_number(name, least, number);
  into = static_cast<T>(number);
}

void read_laziness(const char* name, bool& lazy) {
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == '\0') return;
  if (std::strcmp(value, "lazy") != 0 && std::strcmp(value, "eager") != 0) return refuse_setting(name, "lazy or eager", value);
  lazy = std::strcmp(value, "lazy") == 0;
}

void read_order(Settings& settings) {
  const char* const name = "LOWRANK_EMULATED_ORDER";
  const char* const value = std::getenv(name);
  if (value == nullptr || *value == '\0') return;
  const std::string text = value;
  if (text == "ascending") {
    settings.order = Order::kAscending;
  } else if (text == "descending") {
    settings.order = Order::kDescending;
  } else if (text.rfind("shuffled", 0) == 0 && (text.size() == 8 || text[8] == ':')) {
    settings.order = Order::kShuffled;
    if (text.size() > 8) settings.seed = std::strtoull(text.c_str() + 9, nullptr, 10);
  } else {
    refuse_setting(name, "ascending, descending, shuffled or shuffled:SEED", value);
  }
}

Settings from_environment() {
  Settings settings;
  read_order(settings);
  read_laziness("LOWRANK_EMULATED_COPIES", settings.lazy_copies);
  read_laziness("LOWRANK_EMULATED_STREAMS", settings.lazy_streams);
  read_number("LOWRANK_EMULATED_DEVICES", 0, settings.devices);
  read_number("LOWRANK_EMULATED_DRIVER", 0, settings.driver_version);
  read_number("LOWRANK_EMULATED_CAPABILITY", 10, settings.capability);
  read_number("LOWRANK_EMULATED_MULTIPROCESSORS", 1, settings.multiprocessors);
  read_number("LOWRANK_EMULATED_MEMORY", 0, settings.memory_bytes);
  read_number("LOWRANK_EMULATED_FAULT", 0, settings.fault_at_launch);
  return settings;
}

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDevicePointer, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t check_device(int device) {
  if (settings().devices == 0) return cudaErrorNoDevice;
  return device < 0 || device >= settings().devices ? cudaErrorInvalidDevice : cudaSuccess;
}

}  // namespace

Settings& settings() {
  static Settings settings = from_environment();
  return settings;
}

Counters counters() { return counted; }
std::recursive_mutex& runtime_mutex() { return state().mutex; }

std::string misuse() {
  const Lock lock(state().mutex);
  return state().misuse;
}

void recover() {
  const Lock lock(state().mutex);
  state().broken = cudaSuccess;
  state().misuse.clear();
  state().texts.clear();
  last_error = cudaSuccess;
}

cudaError_t refuse(cudaError_t error, const std::string& text) {
  const Lock lock(state().mutex);
  state().texts[error] = state().all_texts.insert("EMULATED: " + text).first->c_str();
  if (state().misuse.empty()) state().misuse = text;
  return noted(error);
}

cudaError_t break_device(cudaError_t error, const std::string& text) {
  const Lock lock(state().mutex);
  state().broken = error;
  return refuse(error, text);
}

cudaError_t device_error() { return state().broken; }

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

int current_device() { return device_of_thread; }

bool is_pinned(const void* data) {
  const auto after = state().pinned.upper_bound(data);
  if (after == state().pinned.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return static_cast<const uint8_t*>(data) < static_cast<const uint8_t*>(begin) + bytes;
}

}  // namespace lowrank::emulator

using namespace lowrank::emulator;

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = device_error();
  return error;
}
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorString(cudaError_t error) {
  const Lock lock(state().mutex);
  const auto found = state().texts.find(error);
  if (found != state().texts.end()) return found->second;
  for (const ErrorText& known : kErrors)
    if (known.error == error) return known.text;
  return "unrecognized error code";
}
const char* cudaGetErrorName(cudaError_t error) {
  for (const ErrorText& known : kErrors)
    if (known.error == error) return known.name;
  return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = settings().devices;
  return noted(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}
cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread;
  return noted(check_device(device_of_thread));
}
cudaError_t cudaSetDevice(int device) {
  const cudaError_t error = check_device(device);
  if (error == cudaSuccess) device_of_thread = device;
  return noted(error);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const cudaError_t error = check_device(device);
  if (error != cudaSuccess) return noted(error);
  const Settings& is = settings();
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "EMULATED device %d", device);
  properties->totalGlobalMem = is.memory_bytes;
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = is.shared_bytes_opt_in;
  properties->sharedMemPerMultiprocessor = is.shared_bytes_opt_in + 1024;
  properties->major = is.capability / 10;
  properties->minor = is.capability % 10;
  properties->multiProcessorCount = is.multiprocessors;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 1536;
  properties->regsPerMultiprocessor = 65536;
  properties->warpSize = 32;
  properties->l2CacheSize = 4 << 20;
  properties->memoryBusWidth = 128;
  properties->pciBusID = 1 + device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(properties.sharedMemPerBlock); return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return noted(cudaErrorInvalidValue);
}

cudaError_t cudaMalloc(void** data, size_t bytes) {
  const Lock lock(state().mutex);
  if (device_error() != cudaSuccess) return noted(device_error());
  if (const cudaError_t error = check_device(device_of_thread); error != cudaSuccess) return noted(error);
  *data = bytes == 0 ? nullptr : device_memory().allocate(device_of_thread, bytes);
  return noted(*data == nullptr && bytes != 0 ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* data) {
  const Lock lock(state().mutex);
  drain_every_stream();
  if (data != nullptr && !device_memory().free(data))
    return refuse(cudaErrorInvalidDevicePointer, "Expected the address of an allocation for cudaFree, received another.");
  return noted(device_error());
}

cudaError_t cudaMallocHost(void** data, size_t bytes) {
  const Lock lock(state().mutex);
  *data = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (*data == nullptr) return noted(cudaErrorMemoryAllocation);
  state().pinned[*data] = bytes;
  races::watch(*data, bytes, races::Memory::kPinned);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) { return cudaMallocHost(data, bytes); }

cudaError_t cudaFreeHost(void* data) {
  const Lock lock(state().mutex);
  drain_every_stream();
  if (data != nullptr && state().pinned.erase(data) == 0)
    return refuse(cudaErrorInvalidValue, "Expected memory of cudaMallocHost for cudaFreeHost, received another address.");
  races::forget(data);
  std::free(data);
  return noted(device_error());
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(state().mutex);
  if (const cudaError_t error = check_device(device_of_thread); error != cudaSuccess) return noted(error);
  *total = settings().memory_bytes;
  const size_t used = device_memory().used(device_of_thread);
  *free = *total > used ? *total - used : 0;
  return cudaSuccess;
}
