// What ops have written, as the host reads it.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/backend.h"

namespace lowrank {

class HostView {
 public:
  // [count] floats from `memory` on: the memory itself where ops use the host's, else a copy of it. Valid until the next
  // call, and while no op writes there.
  const float* of(const Backend& backend, const float* memory, size_t count) {
    if (backend.shares_host_memory()) return memory;
    copy_.resize(count);
    backend.read(copy_.data(), memory, count * sizeof(float));
    return copy_.data();
  }

 private:
  std::vector<float> copy_;
};

}  // namespace lowrank
