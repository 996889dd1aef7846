// The tensors of a model or adapter, whatever format they come from: names, shapes, and rows as float32.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/byte_source.h"
#include "formats/dtype.h"

namespace lowrank {

struct TensorInfo {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  // outermost first: [out, in]; empty for a scalar
  uint64_t offset;             // of the first byte, in its file
  uint64_t byte_length;
  uint32_t file;  // which file of the source holds it

  // Product of the shape; 1 for a scalar.
  int64_t elements() const;
  // What read_rows() calls rows: 1 for scalars and vectors, else shape[0].
  int64_t rows() const;
  // Elements in a row: the product of the shape without its outermost dimension; all elements where rows() is
  // 1 by rank.
  int64_t row_length() const;
};

// Opened by open_safetensors() or open_gguf(). Immutable and safe for any number of threads.
class TensorSource {
 public:
  // Limits on what a file may state, far above any real model.
  static constexpr size_t kMaxTensors = 1u << 17;
  static constexpr size_t kMaxRank = 8;
  static constexpr size_t kMaxNameBytes = 1024;

  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  // In the order of the file (safetensors: of the header).
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // Null where there is none.
  const TensorInfo* find(std::string_view name) const;

  // Rows [row_begin, row_begin + row_count) of one of this source's tensors as float32 to out [row_count,
  // row_length()]. Uses a scratch of at most kScratchBytes. Throws Error: kInvalidArgument for rows that the
  // tensor does not have, kModelUnsupported for a type that is not readable as float32, kIo when the file has
  // been cut short.
  void read_rows(const TensorInfo& tensor, int64_t row_begin, int64_t row_count, float* out) const;
  static constexpr size_t kScratchBytes = 256u << 10;

  // Whether two tensors of this source have one type, one shape and the same bytes. Reads them up to the first difference, and has a
  // scratch of at most kScratchBytes. Throws Error(kIo) when the file has been cut short.
  bool same_bytes(const TensorInfo& a, const TensorInfo& b) const;

 protected:
  // Checks each tensor (name not empty, not too long, not used twice; rank; a row is whole blocks;
  // byte_length is what dtype and shape need; inside its file) and that no two overlap. Throws
  // Error(kModelFormat) naming the tensor.
  TensorSource(std::vector<TensorInfo> tensors, std::vector<std::shared_ptr<ByteSource>> files);

 private:
  void check_tensor(const TensorInfo& tensor) const;
  void index_names();
  void check_overlap() const;

  std::vector<TensorInfo> tensors_;
  std::vector<std::shared_ptr<ByteSource>> files_;
  std::vector<uint32_t> by_name_;  // indices into tensors_, sorted by name
};

// The bytes that a tensor of this type and shape takes. Throws Error(kModelFormat), with `name` and `file` in
// the message, for a dimension below 0, a product beyond int64, or rows that are no whole number of blocks.
uint64_t tensor_byte_length(DType dtype, const std::vector<int64_t>& shape, std::string_view name,
                            std::string_view file);

}  // namespace lowrank
