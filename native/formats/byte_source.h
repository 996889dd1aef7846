// Bytes at offsets: a file on disk or a buffer in memory, read the same way by every format.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lowrank {

static_assert(std::endian::native == std::endian::little,
              "model files are little-endian and are read as they are");
static_assert(sizeof(size_t) == 8, "model files are larger than a 32-bit address space");

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // What error messages call it: the path, or the name given to wrap_bytes().
  const std::string& name() const { return name_; }
  // In bytes, as it was when the source was opened.
  virtual uint64_t size() const = 0;
  // Copies the `n` bytes from `offset` on to `out`. Any number of threads may read at once. Throws Error(kIo)
  // when they are not all there, which includes a file that was cut short after it was opened.
  virtual void read(uint64_t offset, size_t n, void* out) const = 0;

 protected:
  explicit ByteSource(std::string name) : name_(std::move(name)) {}

 private:
  std::string name_;
};

// Opens a regular file for reading; `path` is UTF-8. Throws Error(kIo) when it is missing, unreadable, or a
// folder, pipe or device.
//
// Files are read, not mapped: touching a mapped page of a file that somebody truncates raises SIGBUS and ends
// the whole Node process, where a short read is an Error; and mapped pages would count in the resident set.
std::shared_ptr<ByteSource> open_file(const std::string& path);

// Takes over bytes in memory, for instance an adapter that JavaScript handed in.
std::shared_ptr<ByteSource> wrap_bytes(std::vector<uint8_t> bytes, std::string name = "the bytes given");

}  // namespace lowrank
