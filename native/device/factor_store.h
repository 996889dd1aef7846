// Low-rank factors of a device. All of them lie in the host's memory; those that steps use lie on the device as well, as many
// as fit a budget, the least recently used making room. They are moved a block (an adapter) at a time, on a stream beside the
// steps.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "device/open_device.h"
#include "device/storage.h"

namespace lowrank::device {

class FactorStore;

class FactorBlock {
 public:
  FactorBlock(FactorStore& store, BackendMemory host) : store_(store), host_(std::move(host)) {}
  ~FactorBlock();
  FactorBlock(const FactorBlock&) = delete;
  FactorBlock& operator=(const FactorBlock&) = delete;

  uint8_t* host() const { return host_.as<uint8_t>(); }
  size_t bytes() const { return host_.bytes(); }
  // Its address on the device, where it will be when the step under record runs; it stays there until that step has ended.
  const uint8_t* resident();

 private:
  friend class FactorStore;
  FactorStore& store_;
  BackendMemory host_;
  BackendMemory device_;            // empty: it is not there
  uint64_t last_step_ = 0;
  std::list<FactorBlock*>::iterator place_;  // among those that are there
};

class FactorStore {
 public:
  // `budget`: bytes of the device's memory that blocks keep between steps.
  FactorStore(OpenDevice& device, size_t budget) : device_(device), budget_(budget) {}

  // A [rank, in] (`is_a`) or B [out, rank] in a block of its own; see Backend::pack_lora_a.
  std::unique_ptr<DeviceFactor> pack(const float* values, int32_t rank, int32_t dimension, LoraDType dtype, bool is_a);
  // See Backend::join. Throws Error(kOutOfMemory) where the block is larger than the budget.
  void join(const std::vector<LoraFactor*>& factors);

  void begin_step();
  // Before the step runs. True where blocks that it uses may be on their way: it comes after uploads then.
  bool step_has_uploads();
  void end_step(bool ran);

  size_t budget() const;
  void set_budget(size_t bytes);
  struct Counters {
    uint64_t uploads;    // blocks that were copied to the device
    uint64_t evictions;  // blocks that made room
    size_t resident_bytes;
  };
  Counters counters() const;

 private:
  friend class FactorBlock;
  const uint8_t* make_resident(FactorBlock& block);
  void remove(FactorBlock& block);
  BackendMemory room_for(size_t bytes);
  bool evict_one();
  void drop(FactorBlock& block);

  OpenDevice& device_;
  mutable std::mutex mutex_;
  size_t budget_;
  std::list<FactorBlock*> there_;  // least recently used first
  size_t there_bytes_ = 0;
  uint64_t step_ = 0;
  bool in_step_ = false;
  bool step_has_uploads_ = false;
  bool uploading_ = false;        // since the last wait
  uint64_t uploads_ = 0;
  uint64_t uploads_awaited_ = 0;  // by the step that runs
  uint64_t evictions_ = 0;
};

}  // namespace lowrank::device
