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

BaseModel base_shape(const ModelConfig& config) {
  BaseModel base;
  base.layers = static_cast<int32_t>(config.layers.size());
  base.hidden_size = config.hidden_size;
  base.intermediate_size = config.intermediate_size;
  base.heads = config.heads;
  base.kv_heads = config.kv_heads;
  base.head_dim = config.head_dim;
  base.vocabulary_size = config.vocabulary_size;
  return base;
}

BaseModel Model::base(int threads) const {
  BaseModel base = base_shape(config_);
  base.norm_gain_offset = config_.norm_gain_offset;
  for (const NormName& name : config_.norms) base.layer_norms[static_cast<size_t>(name.norm)] = true;
  base.read_weight = [this](int32_t layer, Projection projection, int32_t begin, int32_t count, float* out) {
    const Matrix& matrix = *weights_.layers[static_cast<size_t>(layer)].products[static_cast<size_t>(site_of(projection))];
    backend_->unpack(matrix, row_offset(config_, projection) + begin, count, out);
  };
  base.read_lm_head = [this](int32_t begin, int32_t count, float* out) { backend_->unpack(*weights_.lm_head, begin, count, out); };
  base.read_embed_tokens = [this](int32_t begin, int32_t count, float* out) {
    backend_->unpack(*weights_.embed_tokens, begin, count, out);
  };
  base.bias = [this](int32_t layer, Projection projection) {
    const std::vector<float> all =
        weights_.layers[static_cast<size_t>(layer)].biases[static_cast<size_t>(site_of(projection))].values();
    if (all.empty()) return all;
    const auto begin = all.begin() + row_offset(config_, projection);
    return std::vector<float>(begin, begin + projection_rows(config_, projection));
  };
  base.backend = backend_;
  base.lora_dtype = lora_dtype(precision_);
  base.embed_tokens_spec = backend_->spec_of(*weights_.embed_tokens);
  base.lm_head_spec = backend_->spec_of(*weights_.lm_head);
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
