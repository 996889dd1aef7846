// What the parts of the emulated runtime share.
#pragma once

#include <mutex>
#include <string>

#include "emulator/emulator.h"

namespace lowrank::emulator {

extern Counters counted;

// Every call takes it: one call at a time, and one kernel at a time.
std::recursive_mutex& runtime_mutex();

// What cudaGetErrorString says of this error from now on. Gives the error.
cudaError_t refuse(cudaError_t error, const std::string& text);
// As does refuse; every later call gives this error, until recover().
cudaError_t break_device(cudaError_t error, const std::string& text);
// The error of a device that is broken, or cudaSuccess.
cudaError_t device_error();
// Remembers the error of a call for cudaGetLastError.
cudaError_t noted(cudaError_t error);

int current_device();
bool is_pinned(const void* data);
void drain_every_stream();

}  // namespace lowrank::emulator
