// Reads the header of a GGUF file piece by piece, with every length checked before it is used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/byte_source.h"
#include "formats/gguf_value.h"

namespace lowrank {

// A cursor over the bytes from the start of a file up to a limit. Throws Error(kModelFormat) where the header
// asks for bytes beyond it.
class GgufHeaderReader {
 public:
  // Does not own `bytes`. No more than `limit` bytes are read.
  GgufHeaderReader(const ByteSource& bytes, uint64_t limit);

  uint64_t position() const { return position_; }
  // Bytes from the position to the limit or the file's end.
  uint64_t remaining() const { return end_ - position_; }

  uint32_t read_u32();
  uint64_t read_u64();
  // A length and that many bytes, which must be `min_bytes` to `max_bytes`.
  std::string read_string(const char* what, uint64_t min_bytes, uint64_t max_bytes);
  // A type number and the value.
  GgufValue read_value(const std::string& key);

  [[noreturn]] void fail(const std::string& expected, const std::string& received) const;

 private:
  void read(void* out, uint64_t n);
  GgufType read_type(const std::string& key);
  // The same number of elements as `count`, which is checked against the bytes that remain.
  GgufValue read_elements(const std::string& key, bool is_array, GgufType type, uint64_t count);

  const ByteSource& bytes_;
  uint64_t end_;
  uint64_t position_ = 0;
  std::vector<uint8_t> window_;  // bytes [window_begin_, window_begin_ + window_.size()) of the file
  uint64_t window_begin_ = 0;
};

}  // namespace lowrank
