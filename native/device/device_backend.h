// The backend of one device, driven through a plugin. One step runs at a time; everything else may be called beside it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "backend/backend.h"
#include "device/factor_store.h"
#include "device/open_device.h"
#include "device/step_recorder.h"

namespace lowrank::device {

class DeviceBackend final : public Backend {
 public:
  // `ops`: what records a step, device_ops() but for tests. Factors of adapters keep a quarter of the device's memory at most
  // until `factors().set_budget` is called. Throws Error(kBackendUnavailable) where the device cannot be used.
  DeviceBackend(const PluginTable& plugin, int32_t index, const OpTable& ops);

  const char* name() const override { return "cuda"; }
  // "sm_90", or "sm_90-emulated".
  const char* instruction_set() const override { return instruction_set_.c_str(); }
  const NumericTraits& traits() const override { return kTraits; }
  const OpTable& ops() const override { return ops_; }

  std::unique_ptr<lowrank::Matrix> pack(const MatrixSpec& spec, const RowReader& read, int threads) const override;
  std::unique_ptr<lowrank::Matrix> allocate(const MatrixSpec& spec) const override;
  const char* weights_layout() const override { return "rows"; }
  MatrixSpec spec_of(const lowrank::Matrix& matrix) const override;
  std::vector<MemoryRange> memory(const lowrank::Matrix& matrix) const override;
  void unpack(const lowrank::Matrix& matrix, int32_t row_begin, int32_t row_count, float* out) const override;
  uint64_t checksum(const lowrank::Matrix& matrix) const override;

  std::unique_ptr<LoraFactor> pack_lora_a(const float* a, int32_t rank, int32_t in, LoraDType dtype) const override;
  std::unique_ptr<LoraFactor> pack_lora_b(const float* b, int32_t out, int32_t rank, LoraDType dtype) const override;
  void join(const std::vector<LoraFactor*>& factors) const override { factors_->join(factors); }

  BackendMemory reserve(size_t bytes, Buffer::Pages pages) const override;
  void write(void* memory, const void* host, size_t bytes) const override { device_->copy_in(memory, host, bytes); }
  void read(void* host, const void* memory, size_t bytes) const override { device_->copy_out(host, memory, bytes); }
  void copy(void* to, const void* from, size_t bytes) const override { device_->copy_within(to, from, bytes); }
  bool shares_host_memory() const override { return false; }
  uint64_t available_memory() const override { return device_->memory().free_bytes; }
  KvLayout kv_layout() const override { return KvLayout::kRows; }
  size_t row_block_bytes() const override { return 0; }

  void run(Program& program, int threads) const override;
  // Runs the ops that `record` calls, as one step.
  void run_step(const std::function<void()>& record) const;

  OpenDevice& device() const { return *device_; }
  FactorStore& factors() const { return *factors_; }

 private:
  void check(const MatrixSpec& spec) const;

  // The kernels of shrink and expand take a float apart for bfloat16 products, exactly.
  static constexpr NumericTraits kTraits = {
      .rounding = "cuda", .bfloat16_attention = true, .bfloat16_low_rank = false, .byte_attention = false};

  std::shared_ptr<OpenDevice> device_;
  const OpTable& ops_;
  std::string instruction_set_;
  std::unique_ptr<FactorStore> factors_;
  mutable std::mutex step_mutex_;
  std::unique_ptr<StepRecorder> recorder_;
};

}  // namespace lowrank::device
