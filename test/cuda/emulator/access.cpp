// Accesses of kernels to memory that go through a function: asynchronous copies, wrappers, atomics.
#include "emulator/access.h"

#include <cstring>

#include "emulator/device_memory.h"
#include "emulator/emulator.h"
#include "emulator/sanitizers.h"

namespace lowrank::emulator {

namespace {

constexpr int kPoison = 0xff;  // what lies at a copy's destination until somebody waits for it: NaN, -1

bool is_aligned(const void* data, size_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

[[noreturn]] void refuse_access(cudaError_t error, const char* expected, const char* what, Location where) {
  end_launch(error, where, "Expected %s for %s, received another address", expected, what);
}

void require_shared(const void* data, size_t bytes, const char* what, Location where) {
  if (!is_aligned(data, bytes))
    refuse_access(cudaErrorMisalignedAddress, "an address that is a multiple of 16", what, where);
  if (!is_shared(data, bytes))
    refuse_access(cudaErrorIllegalAddress, "an address within one array of the block's shared memory", what, where);
}

void require_global(const void* data, size_t bytes, const char* what, Location where) {
  if (!is_aligned(data, bytes))
    refuse_access(cudaErrorMisalignedAddress, "an address that is a multiple of the bytes it moves", what, where);
  if (!device_memory().holds(data, bytes))
    refuse_access(cudaErrorIllegalAddress, "an address within one allocation of the device's memory", what, where);
}

}  // namespace

void check_shared_read(const void* data, size_t bytes, const char* what, Location where) {
  require_shared(data, bytes, what, where);
  sanitizers::note_read(data, bytes);
}

void check_global_read(const void* data, size_t bytes, const char* what, Location where) {
  require_global(data, bytes, what, where);
  sanitizers::note_read(data, bytes);
}

void check_global_atomic(const void* data, size_t bytes, Location where) {
  if (!is_aligned(data, bytes) || !is_shared(data, bytes)) require_global(data, bytes, "an atomic operation", where);
  sanitizers::note_atomic(data, bytes);
}

void copy_async(void* shared, const void* global, bool valid, Location where) {
  require_shared(shared, 16, "cp.async into shared memory", where);
  if (!is_aligned(global, 16))
    refuse_access(cudaErrorMisalignedAddress, "an address that is a multiple of 16", "cp.async from global memory", where);
  if (valid) require_global(global, 16, "cp.async from global memory", where);
  sanitizers::note_write(shared, 16);
  if (!settings().lazy_copies) {
    if (valid) {
      sanitizers::note_read(global, 16);
      std::memcpy(shared, global, 16);
    } else {
      std::memset(shared, 0, 16);
    }
    return;
  }
  std::memset(shared, kPoison, 16);
  begin_copy({shared, global, valid});
}

// A fence before an atomic operation releases, one after it acquires: that is how a value that another block wrote may be read.
void before_atomic(const void* data) {
  if (current_thread->has_fenced) races::release(data);
}

void after_atomic(const void* data) {
  if constexpr (races::kWatched) running_thread().observed.push_back(data);
}

void thread_fence() {
  Thread& self = running_thread();
  self.has_fenced = true;
  for (const void* data : self.observed) races::acquire(data);
  self.observed.clear();
}

}  // namespace lowrank::emulator
