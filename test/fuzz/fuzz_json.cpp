// libFuzzer target: any bytes as JSON give a value whose every part can be read, or a coded error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/json.h"
#include "formats/read_everything.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    lowrank::test::read_all(lowrank::Json::parse({reinterpret_cast<const char*>(data), size}));
  } catch (const lowrank::Error& error) {
    if (error.code() != lowrank::ErrorCode::kModelFormat) throw;
  }
  return 0;
}
