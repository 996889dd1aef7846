// The devices that models can run on: the CPU, and the CUDA devices that a plugin (native/cuda) finds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace lowrank {

struct CudaDevice {
  int32_t index = -1;         // as in "cuda:1"; -1: there is no device, and `unavailable` tells why
  std::string name;           // "NVIDIA H100 80GB HBM3"; an emulated one has "EMULATED" in it
  uint64_t memory_bytes = 0;  // in all
  uint64_t free_bytes = 0;    // now; 0 as long as this process has not used the device
  int32_t compute_major = 0;
  int32_t compute_minor = 0;
  bool emulated = false;
  std::string unavailable;  // why it cannot be used, such as "no NVIDIA driver: libcuda.so.1: …"; empty: it can be
};

// `plugin`: path of the plugin's library as the package found it, or empty. LOWRANK_CUDA_PLUGIN comes before it. The library is
// opened once and never closed. Throws nothing for what is missing: the list then has one entry, of index -1.
std::vector<CudaDevice> cuda_devices(const std::string& plugin);

// The backend of a CUDA device, made at the first call; it lives as long as the process. Throws Error(kBackendUnavailable) with
// the reason where the device cannot be used.
const Backend& cuda_backend(const std::string& plugin, int32_t index);

// Bounds the memory of a CUDA device that adapters keep between steps, in bytes; a quarter of its memory at first. Adapters
// beyond it stay in the host's memory and are copied when a step needs them. One larger than it is refused when it is loaded.
void set_adapter_memory(const Backend& cuda_backend, size_t bytes);

struct SelectedBackend {
  const Backend* backend;
  int32_t cuda_index;    // -1: the CPU
  std::string fallback;  // why "auto" took the CPU; empty else
};

// `device`: "cpu"; "cuda", the first CUDA device that can be used; "cuda:1"; or "auto": as "cuda" but for emulated devices, or
// the CPU where there is none.
// Throws Error: kInvalidArgument for another text, kBackendUnavailable with the reason.
SelectedBackend select_backend(const std::string& device, const std::string& plugin);

}  // namespace lowrank
