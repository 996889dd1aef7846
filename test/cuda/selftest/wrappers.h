// Each wrapper of cuda/ptx.h, and the built-in functions that kernels lean on, as a kernel of one warp on fixed inputs. What a
// GPU gives is compared with what the emulator gave.
#pragma once

#include <cstdint>
#include <vector>

#include "core/host_device.h"
#include "cuda/launches.h"

namespace lowrank::selftest {

struct WrapperParams {
  uint32_t* out;     // [32 lanes][words]
  uint32_t* memory;  // [kWrapperMemory] for those that read or write global memory, filled with `mixed`
};
inline constexpr int32_t kWrapperMemory = 1024;

struct Wrapper {
  const char* name;
  void (*kernel)(WrapperParams);
  int32_t words;  // of one lane
  // Zeros: words are equal. Else they are float32, and differ by at most so many ulp of themselves, or of the largest of them.
  int32_t ulp_of_each;
  int32_t ulp_of_largest;
};
const std::vector<Wrapper>& wrappers();

// An integer hash (Wellons' lowbias32): inputs that nobody need store.
LOWRANK_HOST_DEVICE inline uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352dU;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x ^ (x >> 16);
}

}  // namespace lowrank::selftest
