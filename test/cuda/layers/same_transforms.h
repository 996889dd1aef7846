// A backend that packs by the input transforms of another model in place of those it is asked for, so that two backends hold the
// same weights although each has calibrated them by itself.
#pragma once

#include <utility>
#include <vector>

#include "backend/backend.h"
#include "model/weights.h"

namespace lowrank::test {

class SameTransforms final : public Backend {
 public:
  // `weights`: another backend's, of the same model.
  SameTransforms(const Backend& inner, const Backend& other, const Weights& weights) : inner_(inner) {
    const auto add = [&](const Matrix& matrix) { specs_.push_back(other.spec_of(matrix)); };
    // As a load packs them.
    for (const LayerWeights& layer : weights.layers)
      for (const auto& product : layer.products) add(*product);
    add(*weights.embed_tokens);
    if (weights.lm_head_matrix != nullptr) add(*weights.lm_head_matrix);
  }

  const char* name() const override { return inner_.name(); }
  const char* instruction_set() const override { return inner_.instruction_set(); }
  const OpTable& ops() const override { return inner_.ops(); }
  std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const override {
    return inner_.pack(next_ < specs_.size() ? specs_[next_++] : spec, read, threads);
  }
  std::unique_ptr<Matrix> allocate(const MatrixSpec& spec) const override { return inner_.allocate(spec); }
  std::vector<MemoryRange> memory(const Matrix& matrix) const override { return inner_.memory(matrix); }
  MatrixSpec spec_of(const Matrix& matrix) const override { return inner_.spec_of(matrix); }
  void unpack(const Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const override {
    inner_.unpack(matrix, row_begin, row_count, out);
  }
  uint64_t checksum(const Matrix& matrix) const override { return inner_.checksum(matrix); }
  std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const override {
    return inner_.pack_lora_a(a, rank, in, dtype);
  }
  std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const override {
    return inner_.pack_lora_b(b, out, rank, dtype);
  }
  void join(const std::vector<LoraFactor*>& factors) const override { inner_.join(factors); }
  BackendMemory reserve(size_t bytes, Buffer::Pages pages) const override { return inner_.reserve(bytes, pages); }
  void write(void* memory, const void* host, size_t bytes) const override { inner_.write(memory, host, bytes); }
  void read(void* host, const void* memory, size_t bytes) const override { inner_.read(host, memory, bytes); }
  void copy(void* to, const void* from, size_t bytes) const override { inner_.copy(to, from, bytes); }
  bool shares_host_memory() const override { return inner_.shares_host_memory(); }
  void run(Program& program, int threads) const override { inner_.run(program, threads); }

 private:
  const Backend& inner_;
  std::vector<MatrixSpec> specs_;
  mutable size_t next_ = 0;
};

}  // namespace lowrank::test
