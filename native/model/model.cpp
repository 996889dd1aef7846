#include "model/model.h"

#include "core/buffer.h"

namespace lowrank {

std::unique_ptr<Model> Model::load(const std::string& path, const Backend& backend, const WeightsOptions& options) {
  const ModelFile file = ModelFile::open(path);
  std::unique_ptr<Model> model(new Model);
  model->backend_ = &backend;
  model->precision_ = options.precision;
  model->config_ = read_model_config(file);
  ModelTensors tensors = find_model_tensors(file, model->config_);
  model->weights_ = load_weights(file, tensors, model->config_, backend, options);
  model->ignored_tensors_ = std::move(tensors.ignored);
  trim_heap();
  return model;
}

BaseModel Model::base(int threads) const {
  BaseModel base{config_};
  base.weights = &weights_;
  base.backend = backend_;
  base.norm_gain_offset = config_.norm_gain_offset;
  base.logits_multiplier = config_.logits_multiplier;
  base.lora_dtype = lora_dtype(precision_);
  base.threads = threads;
  return base;
}

uint64_t Model::checksum() const {
  uint64_t sum = 0;
  const auto mix = [&](uint64_t value) { sum = (sum ^ value) * 0x9E3779B97F4A7C15u; };
  mix(backend_->checksum(*weights_.embed_tokens));
  mix(backend_->checksum(*weights_.lm_head));
  for (const LayerWeights& layer : weights_.layers)
    for (const auto& product : layer.products) mix(backend_->checksum(*product));
  return sum;
}

}  // namespace lowrank
