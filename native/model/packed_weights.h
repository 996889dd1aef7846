// Packed weights on disk, so that the next load neither reads, calibrates, quantises nor packs: it copies.
//
// A file (little-endian): the header below, an index and, from a multiple of 4 KiB on, the memory of each matrix in order.
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
  static std::unique_ptr<PackedWeights> open(const std::string& path, const Backend& backend);

  // The next matrix of the file, which must have this shape and scheme; the channels and factors of its transform are taken from the file. Its
  // memory is filled by `read`.
  std::unique_ptr<Matrix> next(const MatrixSpec& wanted);

  // Fills and checks all the matrices that `next` has given, on `threads` threads. `done` is called on the caller's thread
  // now and then with the elements that are there; it may throw to stop.
  void read(int threads, const std::function<void(int64_t elements)>& done);

 private:
  PackedWeights(std::shared_ptr<ByteSource> file, const Backend& backend) : file_(std::move(file)), backend_(backend) {}

  struct Item {
    Matrix* matrix;  // owned by whom `next` gave it to
    uint64_t offset;
    uint64_t checksum;
  };
  template <class T>
  T take();

  const std::shared_ptr<ByteSource> file_;
  const Backend& backend_;
  std::vector<uint8_t> index_;
  size_t index_at_ = 0;
  uint64_t data_at_ = 0;
  uint32_t left_ = 0;  // matrices that `next` has not given yet
  std::vector<Item> items_;
};

}  // namespace lowrank
