// What a backend offers to the layers above: memory packing behind opaque handles, and the op table.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/program.h"
#include "core/buffer.h"
#include "core/machine_memory.h"
#include "ops/numeric_traits.h"
#include "ops/op_table.h"

namespace lowrank {

// Reads rows [row_begin, row_begin + row_count) of a matrix into out [row_count, cols] float32. Thread-safe.
using RowReader = std::function<void(int32_t row_begin, int32_t row_count, float* out)>;

struct MatrixSpec {
  int32_t rows;
  int32_t cols;
  QuantScheme scheme;
  // Of the input transform that the scheme names; see InputTransform. Outliers: scheme.outliers ascending channels below cols, at most
  // kMaxOutliers. Smoothing: [cols] factors above zero where the scheme is smoothed, else empty.
  std::vector<int32_t> outliers = {};
  std::vector<float> smoothing = {};

  // In the scheme, too.
  void set_transform(bool rotated, std::vector<int32_t> channels, std::vector<float> factors) {
    scheme.rotated = rotated;
    scheme.outliers = static_cast<int32_t>(channels.size());
    scheme.smoothed = !factors.empty();
    outliers = std::move(channels);
    smoothing = std::move(factors);
  }

  bool operator==(const MatrixSpec&) const = default;
};

// Memory of a packed matrix, the backend's.
struct MemoryRange {
  void* data;
  size_t bytes;
};

// Packed weights that lie in the host's memory already: the ranges of Backend::memory in their order, each at the next multiple of
// kRangeAlignment from `data` on, which is at one itself. Nobody writes to them.
inline constexpr size_t kRangeAlignment = 64;
inline constexpr uint64_t aligned_range(uint64_t offset) { return (offset + kRangeAlignment - 1) / kRangeAlignment * kRangeAlignment; }
struct GivenWeights {
  std::shared_ptr<const void> owner;  // keeps them there
  const uint8_t* data;
};

// A block of memory that the ops of a backend read and write: of this process on the CPU, of the device else. Zeroed when it is
// made; freed with the last copy of this handle.
class BackendMemory {
 public:
  BackendMemory() = default;
  BackendMemory(std::shared_ptr<void> data, size_t bytes) : data_(std::move(data)), bytes_(bytes) {}
  // Of the host.
  explicit BackendMemory(Buffer&& buffer) : bytes_(buffer.bytes()) {
    auto owner = std::make_shared<Buffer>(std::move(buffer));
    void* const data = owner->as<void>();
    data_ = std::shared_ptr<void>(std::move(owner), data);
  }
  template <class T = uint8_t>
  T* as() const {
    return static_cast<T*>(data_.get());
  }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<void> data_;
  size_t bytes_ = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;             // "cpu", "cuda"
  virtual const char* instruction_set() const = 0;  // one of cpu_instruction_sets() on the CPU
  virtual const NumericTraits& traits() const = 0;
  virtual const OpTable& ops() const = 0;
  // Null where it has none of them; see training_op.h.
  const TrainingOps* training_ops() const { return ops().training == TrainingOps{} ? nullptr : &ops().training; }

  // Quantises where the format asks for it, and packs. Work is spread over `threads`. Throws Error(kBackendUnavailable), naming formats
  // and backend, where its ops do not multiply such a matrix.
  virtual std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const = 0;
  // A matrix of this spec whose weights are yet to be written, through `memory`. Throws as `pack` does for a wrong spec.
  virtual std::unique_ptr<Matrix> allocate(const MatrixSpec& spec) const = 0;
  // A matrix of this spec over weights that lie in memory already. Reads none of them: the caller sees to it that the ranges of `memory`
  // are there. Throws as `pack` does for a wrong spec. Null where the backend has them in memory of its own alone.
  virtual std::unique_ptr<Matrix> place(const MatrixSpec& spec, const GivenWeights& given) const {
    (void)spec, (void)given;
    return nullptr;
  }
  // Where the packed weights lie in the backend's memory, in an order that two matrices of one spec share: for keeping them on
  // disk. What the spec says is not among them.
  virtual std::vector<MemoryRange> memory(const Matrix& matrix) const = 0;
  // Names that order and what lies there. Backends of one name() and layout read what the others have packed.
  virtual const char* weights_layout() const = 0;
  // What it was packed by.
  virtual MatrixSpec spec_of(const Matrix& matrix) const = 0;
  // The logical weights of rows [row_begin, row_begin + row_count) as the engine holds them: out [row_count, cols].
  virtual void unpack(const Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const = 0;
  // A hash of everything the matrix holds, to prove that base weights stay untouched.
  virtual uint64_t checksum(const Matrix& matrix) const = 0;

  // A [rank, in] and B [out, rank], row-major. Rounds to bfloat16 where that is the dtype; int8 takes integers alone.
  virtual std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const = 0;
  virtual std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const = 0;
  // Moves packed factors into one block of memory in this order, the one in which they are read: a decode then streams it.
  virtual void join(const std::vector<LoraFactor*>& factors) const = 0;

  // Memory for what ops read and write: scratch, caches, gains, biases. Throws Error(kOutOfMemory).
  virtual BackendMemory reserve(size_t bytes, Buffer::Pages pages) const = 0;
  // Between such memory and the host's, and within it. They return when it is done. Any thread may call them, and those above,
  // while another one is in `run`, which must not see them half done.
  virtual void write(void* memory, const void* host, size_t bytes) const = 0;
  virtual void read(void* host, const void* memory, size_t bytes) const = 0;
  virtual void copy(void* to, const void* from, size_t bytes) const = 0;
  // Whether ops read and write the host's memory, so that nobody need copy.
  virtual bool shares_host_memory() const = 0;
  // Bytes: all that this process may have of the host's memory, or what a device has free now.
  virtual uint64_t available_memory() const { return machine_memory(); }

  // How its ops read and write keys and values.
  virtual KvLayout kv_layout() const = 0;

  // Bytes of intermediate values that stay close to one thread while it takes a block of rows from op to op (DecoderGraph::layers);
  // 0: ops always take whole batches.
  virtual size_t row_block_bytes() const = 0;

  // Runs what was recorded of this backend's ops, and returns when it is done. `threads` are the host's.
  virtual void run(Program& program, int threads) const = 0;
};

// The CPU backend for the best instruction set of this machine, or the one that LOWRANK_ISA names.
// Throws Error(kBackendUnavailable) where LOWRANK_ISA names one that is unknown or that this processor lacks.
const Backend& cpu_backend();

struct InstructionSet {
  const char* name;
  const char* extends;  // one further down, whose ops it has but for its own; "" for the reference
  const char* description;
  bool available;  // compiled in, the processor has it, and the system lets this process use it
};
std::vector<InstructionSet> cpu_instruction_sets();  // best first
const Backend& cpu_backend(const std::string& instruction_set);

}  // namespace lowrank
