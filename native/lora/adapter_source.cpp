#include "lora/adapter_source.h"

#include <cstring>
#include <utility>

#include "core/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace lowrank {

std::unique_ptr<TensorSource> open_adapter(std::vector<uint8_t> bytes) {
  const bool gguf = bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
  auto source = wrap_bytes(std::move(bytes), "the adapter");
  try {
    if (gguf) return open_gguf(std::move(source));
    return open_safetensors(std::move(source));
  } catch (const Error& error) {
    // The readers speak of models; here it is the adapter that is wrong.
    if (error.code() == ErrorCode::kModelFormat) throw Error(ErrorCode::kAdapterFormat, error.what());
    if (error.code() == ErrorCode::kModelUnsupported) throw Error(ErrorCode::kAdapterUnsupported, error.what());
    throw;
  }
}

}  // namespace lowrank
