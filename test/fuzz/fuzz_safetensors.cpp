// libFuzzer target: any bytes as a safetensors file give tensors that can be read, or a coded error.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "formats/read_everything.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using lowrank::ErrorCode;
  try {
    const auto source =
        lowrank::open_safetensors(lowrank::wrap_bytes(std::vector<uint8_t>(data, data + size)));
    lowrank::test::read_all(*source);
  } catch (const lowrank::Error& error) {
    if (error.code() != ErrorCode::kModelFormat && error.code() != ErrorCode::kModelUnsupported) throw;
  }
  return 0;
}
