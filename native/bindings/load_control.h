#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lowrank::bindings {

// What JavaScript still has to say about a load that runs: stop it, and the tokens to calibrate by, which come from a
// tokenizer that is read meanwhile.
class LoadControl {
 public:
  explicit LoadControl(std::shared_ptr<const std::atomic<bool>> ending) : ending_(std::move(ending)) {}

  void cancel() {
    cancelled_ = true;
    changed_.notify_one();
  }
  void calibrate(std::vector<int32_t>&& ids) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      calibration_ids_ = std::move(ids);
    }
    changed_.notify_one();
  }

  // On the load's thread.
  void throw_if_stopped() const {
    if (stopped()) throw Error(ErrorCode::kAborted, "The load was aborted.");
  }
  std::vector<int32_t> wait_for_calibration() {
    std::unique_lock<std::mutex> lock(mutex_);
    // Nobody notifies of an environment's end, nor holds the mutex to cancel.
    while (!calibration_ids_ && !stopped()) changed_.wait_for(lock, kStopInterval);
    throw_if_stopped();
    return std::move(*calibration_ids_);
  }

 private:
  static constexpr auto kStopInterval = std::chrono::milliseconds(20);
  bool stopped() const { return cancelled_ || *ending_; }

  const std::shared_ptr<const std::atomic<bool>> ending_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::vector<int32_t>> calibration_ids_;
};

}  // namespace lowrank::bindings
