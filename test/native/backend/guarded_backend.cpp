#include "backend/guarded_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "cpu/layout.h"

namespace lowrank::test {
namespace {

constexpr size_t kBytes = size_t{256} << 20;
constexpr size_t kAlignment = 64;
// Makes an address of the host's one that no process has, on x86-64 and Arm64.
constexpr uintptr_t kForeign = uintptr_t{1} << 54;

void* foreign(void* address) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) | kForeign); }
template <class T>
T* own(T* address) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(address) & ~kForeign);
}

uint8_t* map() {
  void* const begin = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) throw Error(ErrorCode::kOutOfMemory, "Expected address space for the guarded backend.");
  return static_cast<uint8_t*>(begin);
}

// A matrix of the reference whose input transform lies in guarded memory.
struct GuardedMatrix final : cpu::PackedMatrix {
  explicit GuardedMatrix(cpu::PackedMatrix&& packed) : cpu::PackedMatrix(std::move(packed)) {}
  BackendMemory guarded_outliers, guarded_smoothing;
};

}  // namespace

class GuardedBackend::Access {
 public:
  explicit Access(const GuardedBackend& backend) : backend_(backend) {
    const std::lock_guard<std::mutex> lock(backend_.mutex_);
    if (backend_.accesses_++ == 0) mprotect(backend_.begin_, kBytes, PROT_READ | PROT_WRITE);
  }
  ~Access() {
    const std::lock_guard<std::mutex> lock(backend_.mutex_);
    if (--backend_.accesses_ == 0) mprotect(backend_.begin_, kBytes, PROT_NONE);
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

 private:
  const GuardedBackend& backend_;
};

GuardedBackend::GuardedBackend() : reference_(cpu_backend("reference")), begin_(map()) {}
GuardedBackend::~GuardedBackend() { munmap(begin_, kBytes); }

std::unique_ptr<Matrix> GuardedBackend::guarded(std::unique_ptr<Matrix> matrix) const {
  auto out = std::make_unique<GuardedMatrix>(std::move(static_cast<cpu::PackedMatrix&>(*matrix)));
  const auto move = [this](BackendMemory& memory, auto*& values, size_t bytes) {
    if (values == nullptr) return;
    memory = reserve(bytes, Buffer::Pages::kSmall);
    write(memory.as<void>(), values, bytes);
    values = memory.as<std::remove_pointer_t<std::remove_reference_t<decltype(values)>>>();
  };
  InputTransform& input = out->input;
  move(out->guarded_outliers, input.outliers, static_cast<size_t>(input.outlier_count) * sizeof(int32_t));
  move(out->guarded_smoothing, input.smoothing, static_cast<size_t>(out->padded_cols()) * sizeof(float));
  return out;
}

std::unique_ptr<Matrix> GuardedBackend::pack(const MatrixSpec& spec, const RowReader& read, int threads) const {
  return guarded(reference_.pack(spec, read, threads));
}

std::unique_ptr<Matrix> GuardedBackend::allocate(const MatrixSpec& spec) const { return guarded(reference_.allocate(spec)); }

std::vector<MemoryRange> GuardedBackend::memory(const Matrix& matrix) const {
  auto ranges = reference_.memory(matrix);
  for (MemoryRange& range : ranges) range.data = foreign(range.data);
  return ranges;
}

MatrixSpec GuardedBackend::spec_of(const Matrix& matrix) const {
  const Access access(*this);
  return reference_.spec_of(matrix);
}

void GuardedBackend::unpack(const Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const {
  const Access access(*this);
  reference_.unpack(matrix, row_begin, row_count, out);
}

uint64_t GuardedBackend::checksum(const Matrix& matrix) const {
  const Access access(*this);
  return reference_.checksum(matrix);
}

std::unique_ptr<LoraFactor> GuardedBackend::pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const {
  return reference_.pack_lora_a(a, rank, in, dtype);
}

std::unique_ptr<LoraFactor> GuardedBackend::pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const {
  return reference_.pack_lora_b(b, out, rank, dtype);
}

// Memory is handed out once, as the system gave it: zeroed.
BackendMemory GuardedBackend::reserve(size_t bytes, Buffer::Pages) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (size > kBytes - used_) throw Error(ErrorCode::kOutOfMemory, "Expected less for the guarded backend's memory.");
  uint8_t* const data = begin_ + used_;
  used_ += size;
  return {std::shared_ptr<void>(data, [](void*) {}), bytes};
}

void GuardedBackend::write(void* memory, const void* host, size_t bytes) const {
  const Access access(*this);
  std::memcpy(own(memory), host, bytes);
}

void GuardedBackend::read(void* host, const void* memory, size_t bytes) const {
  const Access access(*this);
  std::memcpy(host, own(memory), bytes);
}

void GuardedBackend::copy(void* to, const void* from, size_t bytes) const {
  const Access access(*this);
  std::memcpy(own(to), own(from), bytes);
}

void GuardedBackend::run(Program& program, int threads) const {
  const Access access(*this);
  program.run(threads);
}

bool GuardedBackend::host_can_read(const void* address) {
  int ends[2];
  if (pipe(ends) != 0) throw Error(ErrorCode::kIo, "Expected a pipe.");
  const bool readable = ::write(ends[1], address, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return readable;
}

}  // namespace lowrank::test
