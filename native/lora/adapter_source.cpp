#include "lora/adapter_source.h"

#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace lowrank {

namespace {

class BorrowedBytes final : public ByteSource {
 public:
  BorrowedBytes(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner)
      : ByteSource("the adapter"), bytes_(bytes), owner_(std::move(owner)) {}

  uint64_t size() const override { return bytes_.size(); }

  void read(uint64_t offset, size_t n, void* out) const override {
    if (offset > bytes_.size() || n > bytes_.size() - offset)
      throw Error(ErrorCode::kIo, "Expected " + std::to_string(n) + " bytes of " + name() + " at " + std::to_string(offset) +
                                      ", received " + std::to_string(bytes_.size()) + " in all.");
    if (n > 0) std::memcpy(out, bytes_.data() + offset, n);
  }

 private:
  std::span<const uint8_t> bytes_;
  std::shared_ptr<const void> owner_;
};

}  // namespace

std::unique_ptr<TensorSource> open_adapter(std::vector<uint8_t> bytes) {
  const auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  return open_adapter(*owner, owner);
}

std::unique_ptr<TensorSource> open_adapter(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner) {
  const bool gguf = bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
  auto source = std::make_shared<BorrowedBytes>(bytes, std::move(owner));
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
