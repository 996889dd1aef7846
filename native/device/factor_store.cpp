#include "device/factor_store.h"

#include <algorithm>
#include <cstring>

#include "backend/lora_values.h"
#include "core/error.h"

namespace lowrank::device {
namespace {

constexpr size_t kAlignment = 64;  // of a factor in its block

constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

BackendMemory host_memory(size_t bytes) { return BackendMemory(Buffer(bytes, Buffer::Pages::kOwn)); }

}  // namespace

Factor view_of(const LoraFactor& factor) {
  const auto& own = static_cast<const DeviceFactor&>(factor);
  Factor view = own.view;
  if (own.block != nullptr) view.data = own.block->resident() + own.offset;
  return view;
}

FactorBlock::~FactorBlock() { store_.remove(*this); }
const uint8_t* FactorBlock::resident() { return store_.make_resident(*this); }

std::unique_ptr<DeviceFactor> FactorStore::pack(const float* values, int32_t rank, int32_t dimension, LoraDType dtype,
                                                bool is_a) {
  check_factor_shape(rank, dimension);
  const auto rows = static_cast<size_t>(is_a ? rank : dimension);
  const auto cols = static_cast<size_t>(is_a ? dimension : rank);
  const auto stride = static_cast<size_t>(is_a ? round_up(dimension, kActivationAlignment) : factor_b_stride(rank));
  auto factor = std::make_unique<DeviceFactor>();
  factor->rank = rank;
  factor->dimension = dimension;
  factor->bytes = rows * stride * element_bytes(dtype);
  factor->view = {nullptr, rank, dimension, dtype};
  factor->block = std::make_shared<FactorBlock>(*this, host_memory(factor->bytes));
  for (size_t i = 0; i < rows; ++i)
    store_factor(dtype, values + i * cols, cols, factor->block->host() + i * stride * element_bytes(dtype),
                 [](size_t k) { return k; });
  return factor;
}

void FactorStore::join(const std::vector<LoraFactor*>& factors) {
  size_t bytes = 0;
  for (const LoraFactor* factor : factors) bytes += aligned(factor->bytes);
  if (bytes > budget())
    throw Error(ErrorCode::kOutOfMemory, "Expected at most " + std::to_string(budget()) +
                                             " bytes (the device memory for adapters) for an adapter, received " +
                                             std::to_string(bytes) + ".");
  BackendMemory host;
  try {
    host = device_.allocate_host(bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    host = host_memory(bytes);  // slower to copy from
  }
  const auto block = std::make_shared<FactorBlock>(*this, std::move(host));
  size_t begin = 0;
  for (LoraFactor* one : factors) {
    auto& factor = static_cast<DeviceFactor&>(*one);
    std::memcpy(block->host() + begin, factor.block->host() + factor.offset, factor.bytes);
    factor.block = block;
    factor.offset = begin;
    begin += aligned(factor.bytes);
  }
}

void FactorStore::begin_step() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++step_;
  in_step_ = true;
  step_has_uploads_ = false;
}

bool FactorStore::step_has_uploads() {
  const std::lock_guard<std::mutex> lock(mutex_);
  uploads_awaited_ = uploads_;
  return step_has_uploads_;
}

void FactorStore::end_step(bool ran) {
  const std::lock_guard<std::mutex> lock(mutex_);
  in_step_ = false;
  if (ran && step_has_uploads_ && uploads_awaited_ == uploads_) uploading_ = false;
  while (there_bytes_ > budget_ && evict_one()) {
  }
}

const uint8_t* FactorStore::make_resident(FactorBlock& block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (block.device_.bytes() == 0) {
    block.device_ = room_for(block.bytes());
    device_.upload(block.device_.as<void>(), block.host(), block.bytes());
    block.place_ = there_.insert(there_.end(), &block);
    there_bytes_ += block.bytes();
    uploading_ = true;
    ++uploads_;
  } else {
    there_.splice(there_.end(), there_, block.place_);
  }
  block.last_step_ = step_;
  step_has_uploads_ = step_has_uploads_ || uploading_;
  return block.device_.as<uint8_t>();
}

// A step that needs more than the budget gets it, where the device has it.
BackendMemory FactorStore::room_for(size_t bytes) {
  while (there_bytes_ + bytes > budget_ && evict_one()) {
  }
  for (;;) try {
      return device_.allocate_uncleared(bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kOutOfMemory || !evict_one()) throw;
    }
}

// False where all that are there are of the step under record.
bool FactorStore::evict_one() {
  if (there_.empty() || (in_step_ && there_.front()->last_step_ == step_)) return false;
  ++evictions_;
  drop(*there_.front());
  return true;
}

// Its memory may be used again at once: no step that reads it is under way, but its copy may be.
void FactorStore::drop(FactorBlock& block) {
  if (uploading_) {
    device_.finish_uploads();
    uploading_ = false;
  }
  there_.erase(block.place_);
  there_bytes_ -= block.bytes();
  block.device_ = {};
}

void FactorStore::remove(FactorBlock& block) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (block.device_.bytes() == 0) return;
  try {
    drop(block);
  } catch (const Error&) {
    // The device is lost: nothing is on its way any more.
    uploading_ = false;
    drop(block);
  }
}

size_t FactorStore::budget() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return budget_;
}

void FactorStore::set_budget(size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  budget_ = bytes;
  while (there_bytes_ > budget_ && evict_one()) {
  }
}

FactorStore::Counters FactorStore::counters() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {uploads_, evictions_, there_bytes_};
}

}  // namespace lowrank::device
