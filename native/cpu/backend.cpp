#include "cpu/backend.h"

#include <cstring>

#include "backend/matrix_rows.h"
#include "cpu/packing.h"

namespace lowrank {
namespace {

// Of the widest intermediate values. L2 is 512 KiB to 2 MiB.
constexpr size_t kRowBlockBytes = size_t{768} << 10;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const char* instruction_set, const NumericTraits& traits, const OpTable& ops)
      : instruction_set_(instruction_set), traits_(traits), ops_(ops) {}

  const char* name() const override { return "cpu"; }
  const char* instruction_set() const override { return instruction_set_; }
  const NumericTraits& traits() const override { return traits_; }
  const OpTable& ops() const override { return ops_; }

  std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const override {
    check(spec);
    return cpu::pack_matrix(spec, read, threads);
  }
  std::unique_ptr<Matrix> allocate(const MatrixSpec& spec) const override {
    check(spec);
    return cpu::allocate_matrix(spec);
  }
  std::unique_ptr<Matrix> place(const MatrixSpec& spec, const GivenWeights& given) const override {
    check(spec);
    return cpu::place_matrix(spec, given);
  }
  std::vector<MemoryRange> memory(const Matrix& matrix) const override {
    return cpu::memory(static_cast<const cpu::PackedMatrix&>(matrix));
  }
  MatrixSpec spec_of(const Matrix& matrix) const override {
    const InputTransform& input = matrix.input;
    MatrixSpec spec = {matrix.rows, matrix.cols, matrix.scheme, {input.outliers, input.outliers + input.outlier_count}, {}};
    if (input.smoothing != nullptr) spec.smoothing.assign(input.smoothing, input.smoothing + matrix.cols);
    return spec;
  }
  const char* weights_layout() const override { return cpu::kLayoutName; }
  void unpack(const Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const override {
    cpu::unpack_rows(static_cast<const cpu::PackedMatrix&>(matrix), row_begin, row_count, out);
  }
  uint64_t checksum(const Matrix& matrix) const override {
    return cpu::checksum(static_cast<const cpu::PackedMatrix&>(matrix));
  }
  std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in,
                                          LoraDType dtype) const override {
    return cpu::pack_lora_a(a, rank, in, dtype);
  }
  std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank,
                                          LoraDType dtype) const override {
    return cpu::pack_lora_b(b, out, rank, dtype);
  }
  void join(const std::vector<LoraFactor*>& factors) const override { cpu::join_factors(factors); }

  BackendMemory reserve(size_t bytes, Buffer::Pages pages) const override {
    return BackendMemory(Buffer(bytes, pages));
  }
  void write(void* memory, const void* host, size_t bytes) const override { std::memcpy(memory, host, bytes); }
  void read(void* host, const void* memory, size_t bytes) const override { std::memcpy(host, memory, bytes); }
  void copy(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
  bool shares_host_memory() const override { return true; }
  KvLayout kv_layout() const override { return KvLayout::kLanes; }
  size_t row_block_bytes() const override { return kRowBlockBytes; }
  void run(Program& program, int threads) const override { program.run(threads); }

 private:
  void check(const MatrixSpec& spec) const {
    check_matrix_spec(spec);
    check_matmul_kernel(ops_, std::string("cpu (") + instruction_set_ + ")", spec.scheme);
  }

  const char* instruction_set_;
  const NumericTraits& traits_;
  const OpTable& ops_;
};

}  // namespace

std::unique_ptr<Backend> cpu::make_backend(const char* instruction_set, const NumericTraits& traits, const OpTable& ops) {
  return std::make_unique<CpuBackend>(instruction_set, traits, ops);
}

}  // namespace lowrank
