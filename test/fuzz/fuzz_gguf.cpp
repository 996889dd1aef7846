// libFuzzer target: any bytes as a GGUF file give metadata and tensors that can be read, or a coded error.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "formats/gguf.h"
#include "formats/read_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using lowrank::ErrorCode;
  try {
    const auto file = lowrank::open_gguf(lowrank::wrap_bytes(std::vector<uint8_t>(data, data + size)));
    lowrank::test::read_all(*file);
    lowrank::test::read_all_values(*file);
  } catch (const lowrank::Error& error) {
    if (error.code() != ErrorCode::kModelFormat && error.code() != ErrorCode::kModelUnsupported) throw;
  }
  return 0;
}
