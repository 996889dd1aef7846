// Packed weights on disk, so that the next load neither reads, calibrates, quantises nor packs: it copies.
//
// A file (little-endian): the header below, an index and, each from a multiple of 4 KiB on, the memory of the matrices in order, whose
// ranges begin at multiples of 64. So a process can compute with the file itself (see formats/mapped_file.h), and share its memory with
// others that do.
// The index has for each matrix its shape, its scheme with the input transform, and a checksum over all that it holds. Norms, biases and the
// configuration come from the model's own files, always.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "formats/byte_source.h"
#include "formats/mapped_file.h"
#include "model/precision.h"

namespace lowrank {

// What a packed file depends on beside the model: formats, layout, and the rounding of the ops that calibrated it. Part of its name in a
// cache.
std::string packed_weights_id(const Backend& backend, const WeightSchemes& schemes);

// Writes a file beside `path` and renames it, so that `path` is never there in part. Throws Error(kIo), and leaves no file
// then.
void write_packed_weights(const std::string& path, const Backend& backend, const std::vector<const Matrix*>& matrices);

// One packed file that is being read. All of it is treated as hostile; each function throws Error(kIo) where the file is
// not what it should be.
class PackedWeights {
 public:
  // `share`: matrices lie in the mapped file, where that may be.
  static std::unique_ptr<PackedWeights> open(const std::string& path, const Backend& backend, bool share);

  // Whether they lie there.
  bool is_shared() const { return mapped_ != nullptr; }

  // The next matrix of the file, which must have this shape and scheme; the channels and factors of its transform are taken from the
  // file. Its memory is filled by `read`, or is the file's.
  std::unique_ptr<Matrix> next(const MatrixSpec& wanted);

  // Fills and checks all the matrices that `next` has given, on `threads` threads. `done` is called on the caller's thread
  // now and then with the elements that are there; it may throw to stop.
  void read(int threads, const std::function<void(int64_t elements)>& done);

 private:
  PackedWeights(std::shared_ptr<const ByteSource> file, std::shared_ptr<const MappedFile> mapped, const Backend& backend)
      : file_(std::move(file)), mapped_(std::move(mapped)), backend_(backend) {}

  struct Item {
    Matrix* matrix;  // owned by whom `next` gave it to
    uint64_t offset;
    uint64_t checksum;
  };
  template <class T>
  T take();

  const std::shared_ptr<const ByteSource> file_;
  const std::shared_ptr<const MappedFile> mapped_;  // file_, or null
  const Backend& backend_;
  std::vector<uint8_t> index_;
  size_t index_at_ = 0;
  uint64_t data_at_ = 0;
  uint32_t left_ = 0;  // matrices that `next` has not given yet
  std::vector<Item> items_;
};

}  // namespace lowrank
