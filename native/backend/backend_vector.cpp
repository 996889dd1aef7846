#include "backend/backend_vector.h"

namespace lowrank {

BackendVector::BackendVector(const Backend& backend, std::vector<float> values) : backend_(&backend), size_(values.size()) {
  if (backend.shares_host_memory()) {
    host_ = std::move(values);
    return;
  }
  if (empty()) return;
  memory_ = backend.reserve(bytes(), Buffer::Pages::kSmall);
  backend.write(memory_.as<void>(), values.data(), bytes());
}

std::vector<float> BackendVector::values() const {
  if (empty() || !host_.empty()) return host_;
  std::vector<float> out(size_);
  backend_->read(out.data(), memory_.as<void>(), bytes());
  return out;
}

}  // namespace lowrank
