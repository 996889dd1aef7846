// A loaded model: configuration and packed weights. Immutable once loaded.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "lora/base_model.h"
#include "model/architectures/architecture.h"
#include "model/weights.h"

namespace lowrank {

class Model {
 public:
  static std::unique_ptr<Model> load(const std::string& path, const Backend& backend, const WeightsOptions& options);

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  // Tensors of the file that its configuration switches off.
  const std::vector<std::string>& ignored_tensors() const { return ignored_tensors_; }
  const Backend& backend() const { return *backend_; }
  Precision precision() const { return precision_; }
  // What the lora layer sees of this model; valid as long as the model.
  BaseModel base(int threads) const;
  uint64_t checksum() const;

 private:
  Model() = default;
  const Backend* backend_ = nullptr;
  Precision precision_{};
  ModelConfig config_;
  Weights weights_;
  std::vector<std::string> ignored_tensors_;
};

}  // namespace lowrank
