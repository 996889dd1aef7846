#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lowrank::bindings {

// What JavaScript still has to say about a load that runs: stop it; where packed weights lie, which takes a hash of the
// model; and the tokens to calibrate by, which come from a tokenizer that is read meanwhile.
class LoadControl {
 public:
  explicit LoadControl(std::shared_ptr<const std::atomic<bool>> ending) : ending_(std::move(ending)) {}

  void cancel() {
    cancelled_ = true;
    changed_.notify_one();
  }
  void calibrate(std::vector<int32_t>&& ids) { set(calibration_ids_, std::move(ids)); }
  void use_packed(std::string&& path) { set(packed_path_, std::move(path)); }

  // On the load's thread.
  void throw_if_stopped() const {
    if (stopped()) throw Error(ErrorCode::kAborted, "The load was aborted.");
  }
  std::vector<int32_t> wait_for_calibration() { return wait_for(calibration_ids_); }
  std::string wait_for_packed_path() { return wait_for(packed_path_); }

 private:
  static constexpr auto kStopInterval = std::chrono::milliseconds(20);
  template <class T>
  void set(std::optional<T>& member, T&& value) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      member = std::move(value);
    }
    changed_.notify_one();
  }
  template <class T>
  T wait_for(std::optional<T>& member) {
    std::unique_lock<std::mutex> lock(mutex_);
    // Nobody notifies of an environment's end, nor holds the mutex to cancel.
    while (!member && !stopped()) changed_.wait_for(lock, kStopInterval);
    throw_if_stopped();
    return *member;
  }
  bool stopped() const { return cancelled_ || *ending_; }

  const std::shared_ptr<const std::atomic<bool>> ending_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::vector<int32_t>> calibration_ids_;
  std::optional<std::string> packed_path_;
};

}  // namespace lowrank::bindings
