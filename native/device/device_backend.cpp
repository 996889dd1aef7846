#include "device/device_backend.h"

#include <cstring>

#include "backend/matrix_rows.h"
#include "device/packing.h"

namespace lowrank::device {
namespace {

constexpr uint64_t kFactorShare = 4;  // of the device's memory, one part is for factors

std::string instruction_set_of(const OpenDevice& device) {
  const DeviceDescription& facts = device.description();
  const bool emulated = std::strcmp(device.plugin().kind, "cuda") != 0;
  return "sm_" + std::to_string(facts.compute_major) + std::to_string(facts.compute_minor) + (emulated ? "-emulated" : "");
}

const DeviceMatrix& own(const lowrank::Matrix& matrix) { return static_cast<const DeviceMatrix&>(matrix); }

// The store's side of a step that is recorded and run.
class StepOfStore {
 public:
  explicit StepOfStore(FactorStore& store) : store_(store) { store_.begin_step(); }
  ~StepOfStore() { store_.end_step(ran); }
  bool ran = false;

 private:
  FactorStore& store_;
};

}  // namespace

DeviceBackend::DeviceBackend(const PluginTable& plugin, int32_t index, const OpTable& ops)
    : device_(std::make_shared<OpenDevice>(plugin, index)),
      ops_(ops),
      instruction_set_(instruction_set_of(*device_)),
      factors_(std::make_unique<FactorStore>(*device_, device_->description().memory_bytes / kFactorShare)),
      recorder_(std::make_unique<StepRecorder>(*device_)) {}

std::unique_ptr<lowrank::Matrix> DeviceBackend::pack(const MatrixSpec& spec, const RowReader& read, int threads) const {
  check(spec);
  return pack_matrix(*device_, spec, read, threads);
}
std::unique_ptr<lowrank::Matrix> DeviceBackend::allocate(const MatrixSpec& spec) const {
  check(spec);
  return allocate_matrix(*device_, spec);
}
void DeviceBackend::check(const MatrixSpec& spec) const {
  check_matrix_spec(spec);
  check_matmul_kernel(ops_, "cuda (" + instruction_set_ + ")", spec.scheme);
}
MatrixSpec DeviceBackend::spec_of(const lowrank::Matrix& matrix) const { return own(matrix).spec; }
std::vector<MemoryRange> DeviceBackend::memory(const lowrank::Matrix& matrix) const { return device::memory(own(matrix)); }
void DeviceBackend::unpack(const lowrank::Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const {
  unpack_rows(*device_, own(matrix), row_begin, row_count, out);
}
uint64_t DeviceBackend::checksum(const lowrank::Matrix& matrix) const { return device::checksum(*device_, own(matrix)); }

std::unique_ptr<LoraFactor> DeviceBackend::pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const {
  return factors_->pack(a, rank, in, dtype, true);
}
std::unique_ptr<LoraFactor> DeviceBackend::pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const {
  return factors_->pack(b, rank, out, dtype, false);
}

BackendMemory DeviceBackend::reserve(size_t bytes, Buffer::Pages) const { return device_->allocate(bytes); }

void DeviceBackend::run(Program& program, int) const {
  run_step([&program] {
    for (size_t i = 0; i < program.size(); ++i) program.step(i).run(0, 1);
  });
}

void DeviceBackend::run_step(const std::function<void()>& record) const {
  const std::lock_guard<std::mutex> lock(step_mutex_);
  recorder_->clear();
  StepOfStore step(*factors_);
  {
    const Recording recording(*recorder_);
    record();
  }
  recorder_->run(factors_->step_has_uploads());
  step.ran = true;
}

}  // namespace lowrank::device
