// A backend with the reference's ops on memory that the host cannot touch: what engine, model and lora do with memory of a
// device, without one. Whoever reads or writes it but through the backend dies of a segmentation fault.
#pragma once

#include <cstddef>
#include <mutex>

#include "backend/backend.h"

namespace lowrank::test {

// Scratch, caches, gains and biases lie in one mapping that is accessible only while an op runs or the backend copies. Packed
// matrices stay the reference's; what `memory` says of them, and what their input transforms point to, is not the host's either.
class GuardedBackend : public Backend {
 public:
  GuardedBackend();
  ~GuardedBackend() override;
  GuardedBackend(const GuardedBackend&) = delete;
  GuardedBackend& operator=(const GuardedBackend&) = delete;

  const char* name() const override { return "guarded"; }
  const char* instruction_set() const override { return reference_.instruction_set(); }
  const NumericTraits& traits() const override { return reference_.traits(); }
  const OpTable& ops() const override { return reference_.ops(); }
  std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const override;
  std::unique_ptr<Matrix> allocate(const MatrixSpec& spec) const override;
  std::vector<MemoryRange> memory(const Matrix& matrix) const override;
  const char* weights_layout() const override { return reference_.weights_layout(); }
  MatrixSpec spec_of(const Matrix& matrix) const override;
  void unpack(const Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const override;
  uint64_t checksum(const Matrix& matrix) const override;
  std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const override;
  std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const override;
  void join(const std::vector<LoraFactor*>& factors) const override { reference_.join(factors); }

  BackendMemory reserve(size_t bytes, Buffer::Pages pages) const override;
  void write(void* memory, const void* host, size_t bytes) const override;
  void read(void* host, const void* memory, size_t bytes) const override;
  void copy(void* to, const void* from, size_t bytes) const override;
  bool shares_host_memory() const override { return false; }
  KvLayout kv_layout() const override { return reference_.kv_layout(); }
  size_t row_block_bytes() const override { return reference_.row_block_bytes(); }
  void run(Program& program, int threads) const override;

  // Whether the host could read a byte there now; finds out without a fault.
  static bool host_can_read(const void* address);

 private:
  class Access;  // while one lives, the memory is accessible
  std::unique_ptr<Matrix> guarded(std::unique_ptr<Matrix> matrix) const;

  const Backend& reference_;
  uint8_t* const begin_;
  mutable std::mutex mutex_;
  mutable size_t used_ = 0;
  mutable int accesses_ = 0;
};

}  // namespace lowrank::test
