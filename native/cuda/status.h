// Failures within the plugin: thrown as Failure, and turned into a status and a sentence where the plugin is entered.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "cuda/cuda.h"
#include "device/plugin.h"

namespace lowrank::cuda {

struct Failure {
  device::Status status;
  std::string text;
};

void say(device::PluginMessage* message, const std::string& text);

// Throws where `error` is not cudaSuccess, `doing` being what failed: "copying 512 bytes to the device".
void check(cudaError_t error, const std::string& doing);

// Runs `body`, and gives what became of it: nothing is thrown on.
template <class Body>
device::Status guarded(device::PluginMessage* message, Body body) noexcept {
  try {
    body();
    return device::Status::kOk;
  } catch (const Failure& failure) {
    say(message, failure.text);
    return failure.status;
  } catch (const std::bad_alloc&) {
    say(message, "Expected memory of the host for the CUDA plugin, the system refused.");
    return device::Status::kOutOfMemory;
  } catch (const std::exception& error) {
    say(message, std::string("The CUDA plugin failed: ") + error.what());
    return device::Status::kFailed;
  }
}

}  // namespace lowrank::cuda
