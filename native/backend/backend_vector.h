// Numbers that the host computes once and ops read: gains, biases, frequencies.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace lowrank {

class BackendVector {
 public:
  BackendVector() = default;
  // Holds `values` themselves where ops read the host's memory, else a copy in the backend's. Throws Error(kOutOfMemory).
  BackendVector(const Backend& backend, std::vector<float> values);

  // As ops read it, aligned to 4 bytes; null where it is empty.
  const float* data() const { return empty() ? nullptr : host_.empty() ? memory_.as<float>() : host_.data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t bytes() const { return size_ * sizeof(float); }

  // As the host reads it.
  std::vector<float> values() const;

 private:
  const Backend* backend_ = nullptr;
  std::vector<float> host_;  // empty where the backend has memory of its own
  BackendMemory memory_;
  size_t size_ = 0;
};

}  // namespace lowrank
