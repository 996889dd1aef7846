#include "cpu/backend.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"
#include "cpu/detect.h"
#include "cpu/instruction_set.h"
#include "cpu/packing.h"

namespace lowrank {
namespace {

// Of the widest intermediate values. Second caches have 512 KiB to 2 MiB.
constexpr size_t kRowBlockBytes = size_t{768} << 10;

class CpuBackend final : public Backend {
 public:
  CpuBackend(const char* instruction_set, const OpTable& ops)
      : instruction_set_(instruction_set), ops_(ops) {}

  const char* name() const override { return "cpu"; }
  const char* instruction_set() const override { return instruction_set_; }
  const OpTable& ops() const override { return ops_; }

  std::unique_ptr<Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const override {
    return cpu::pack_matrix(spec, read, threads);
  }
  std::unique_ptr<Matrix> allocate(const MatrixSpec& spec) const override { return cpu::allocate_matrix(spec); }
  std::vector<MemoryRange> memory(const Matrix& matrix) const override {
    return cpu::memory(static_cast<const cpu::PackedMatrix&>(matrix));
  }
  MatrixSpec spec_of(const Matrix& matrix) const override {
    const InputTransform& input = matrix.input;
    MatrixSpec spec = {matrix.rows,     matrix.cols, matrix.format, matrix.activation, input.rotated,
                       {input.outliers, input.outliers + input.outlier_count}, {}};
    if (input.smoothing != nullptr) spec.smoothing.assign(input.smoothing, input.smoothing + matrix.cols);
    return spec;
  }
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
  const char* instruction_set_;
  const OpTable& ops_;
};

}  // namespace

std::unique_ptr<Backend> cpu::make_backend(const char* instruction_set, const OpTable& ops) {
  return std::make_unique<CpuBackend>(instruction_set, ops);
}

namespace {

// One instruction set that this source knows, compiled in or not.
struct Candidate {
  InstructionSet facts;
  std::unique_ptr<Backend> backend;  // null where it is not available
};

#if defined(LOWRANK_HAVE_X86_64)
#define LOWRANK_X86_64_OPS(set) (cpu::processor_has_##set() ? &cpu::set##_ops() : nullptr)
#else
#define LOWRANK_X86_64_OPS(set) nullptr
#endif

// Best first. Never destroyed: at the end of the process, other threads may still be in a step.
const std::vector<Candidate>& candidates() {
  static const std::vector<Candidate>& all = *[] {
    auto& list = *new std::vector<Candidate>;
    const auto add = [&](const char* name, const char* description, const OpTable* ops) {
      list.push_back({{name, description, ops != nullptr}, ops == nullptr ? nullptr : cpu::make_backend(name, *ops)});
    };
    add("avx512_vnni", "x86-64 with AVX-512 F, BW, DQ, VL, VNNI and BF16", LOWRANK_X86_64_OPS(avx512_vnni));
    add("avx512vl_vnni", "x86-64 with AVX2 and AVX-512 F, VL and VNNI, of which it uses 256 bits",
        LOWRANK_X86_64_OPS(avx512vl_vnni));
    add("avx_vnni", "x86-64 with AVX2 and AVX-VNNI", LOWRANK_X86_64_OPS(avx_vnni));
    add("avx2", "x86-64 with AVX2, FMA and F16C", LOWRANK_X86_64_OPS(avx2));
    add("reference", "any processor; plain C++ that every other instruction set is checked against", &cpu::reference_ops());
    return &list;
  }();
  return all;
}

std::string available_names() {
  std::string names;
  for (const Candidate& one : candidates()) {
    if (!one.facts.available) continue;
    if (!names.empty()) names += ", ";
    names += one.facts.name;
  }
  return names;
}

// `asked_by` names the place that the name came from.
const Backend& find_backend(const std::string& name, const char* asked_by) {
  for (const Candidate& one : candidates())
    if (name == one.facts.name && one.backend != nullptr) return *one.backend;
  throw Error(ErrorCode::kBackendUnavailable,
              std::string("Expected an instruction set of this processor and build for ") + asked_by +
                  ", received \"" + name + "\". Use one of: " + available_names() + ".");
}

}  // namespace

std::vector<InstructionSet> cpu_instruction_sets() {
  std::vector<InstructionSet> sets;
  for (const Candidate& one : candidates())
    sets.push_back(one.facts);
  return sets;
}

const Backend& cpu_backend(const std::string& instruction_set) {
  return find_backend(instruction_set, "the CPU backend");
}

const Backend& cpu_backend() {
  // Read at each call, so that a program may set it before it loads a model.
  const char* forced = std::getenv("LOWRANK_ISA");
  if (forced != nullptr && *forced != '\0') return find_backend(forced, "LOWRANK_ISA");
  for (const Candidate& one : candidates())
    if (one.backend != nullptr) return *one.backend;
  throw Error(ErrorCode::kInternal, "Expected at least the reference instruction set.");
}

}  // namespace lowrank
