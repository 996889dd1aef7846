// GGUF, llama.cpp's format: metadata and tensors in one file. Versions 2 and 3, little-endian.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/byte_source.h"
#include "formats/gguf_value.h"
#include "formats/tensor_source.h"

namespace lowrank {

struct GgufMember {
  std::string key;
  GgufValue value;
};

class GgufFile final : public TensorSource {
 public:
  // Limits on what a file may state, far above any real model; TensorSource has those for tensors.
  static constexpr uint64_t kMaxHeaderBytes = 256u << 20;  // all but tensor data; a vocabulary takes 10 MB
  static constexpr uint64_t kMaxMembers = 1u << 16;
  static constexpr uint64_t kMaxKeyBytes = 65535;  // the format's own
  static constexpr uint32_t kMaxDimensions = 4;    // the format's own
  static constexpr uint64_t kMaxAlignment = 1u << 20;

  // Tensor shapes are given outermost first, as everywhere; the file has them innermost first.
  // Throws Error: kModelFormat when the file is damaged or hostile, kModelUnsupported for other versions and
  // for tensor types that are not known, kIo when it cannot be read.
  static std::unique_ptr<GgufFile> open(std::shared_ptr<ByteSource> bytes);

  // The same of a model, which llama.cpp's gguf-split may have cut into "<name>-00001-of-00003.gguf" and so on:
  // `path`, UTF-8, is the first part, and the others must lie beside it. Throws kModelFormat also for parts that do
  // not belong together.
  static std::unique_ptr<GgufFile> open_model(const std::string& path);

  uint32_t version() const { return version_; }
  // Bytes; tensor data lies at multiples of it.
  uint64_t alignment() const { return alignment_; }

  // The metadata in the order of the file; of several parts, that of the first.
  const std::vector<GgufMember>& members() const { return members_; }
  // Null where there is none.
  const GgufValue* find_value(std::string_view key) const;

 private:
  struct Header;
  static std::unique_ptr<GgufFile> assemble(Header first, std::vector<std::shared_ptr<ByteSource>> parts);
  GgufFile(Header header, std::vector<std::shared_ptr<ByteSource>> parts);

  uint32_t version_;
  uint64_t alignment_;
  std::vector<GgufMember> members_;
  std::vector<uint32_t> by_key_;  // indices into members_, sorted by key
};

// `path` is UTF-8.
std::unique_ptr<GgufFile> open_gguf(const std::string& path);
std::unique_ptr<GgufFile> open_gguf(std::shared_ptr<ByteSource> bytes);

}  // namespace lowrank
