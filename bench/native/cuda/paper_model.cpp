#include "paper_model.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "backend/program.h"
#include "device/device_backend.h"
#include "device/ops.h"
#include "kv_cache/kv_cache.h"
#include "model/architectures/architecture.h"
#include "model/decoder_graph.h"
#include "model/model.h"

namespace lowrank::bench {
namespace {

// As Calibration::choose_transform leaves the matrices of an int8 model.
constexpr int32_t kOutlierChannels = 8;

MatrixSpec int8_spec(int32_t rows, int32_t cols) {
  MatrixSpec spec{rows, cols, WeightFormat::kInt8, ActivationFormat::kInt8};
  std::vector<int32_t> outliers(kOutlierChannels);
  std::iota(outliers.begin(), outliers.end(), 0);
  spec.set_transform(true, std::move(outliers), std::vector<float>(static_cast<size_t>(cols), 1.0f));
  return spec;
}

ModelConfig config_of(const ModelShape& shape) {
  ModelConfig config;
  config.architecture = "llama";
  config.hidden_size = shape.hidden;
  config.intermediate_size = shape.intermediate;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.vocabulary_size = shape.vocabulary;
  config.trained_context = 1 << 15;
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  config.tied_embeddings = true;
  config.layer_count = shape.layers;
  config.layers.resize(static_cast<size_t>(shape.layers));
  config.layer = kLlamaLayer;
  config.norms.set(LayerNorm::kBeforeAttention);
  config.norms.set(LayerNorm::kBeforeFeedForward);
  config.ropes = {plain_rope(shape.head_dim, 10000, 1)};
  return config;
}

std::vector<float> gains(int32_t size) { return std::vector<float>(static_cast<size_t>(size), 1.0f); }

}  // namespace

const std::vector<ModelShape>& model_shapes() {
  static const std::vector<ModelShape> shapes = {
      {"135M", "SmolLM2-135M", 576, 1536, 9, 3, 64, 30, 49152},
      {"1B", "Llama 3.2 1B", 2048, 8192, 32, 8, 64, 16, 128256},
      {"3B", "Llama 3.2 3B", 3072, 8192, 24, 8, 128, 28, 128256},
  };
  return shapes;
}

PaperModel::PaperModel(const ModelShape& shape)
    : backend_(std::make_unique<device::DeviceBackend>(paper_plugin(), 0, device::device_ops())), config_(config_of(shape)) {
  weights_.embed_tokens = backend_->allocate(int8_spec(shape.vocabulary, shape.hidden));
  weights_.lm_head = weights_.embed_tokens.get();
  weights_.final_norm = BackendVector(*backend_, gains(shape.hidden));
  weights_.layers.resize(config_.layers.size());
  for (LayerWeights& layer : weights_.layers) {
    for (const LayerNorm norm : {LayerNorm::kBeforeAttention, LayerNorm::kBeforeFeedForward})
      layer.norms[static_cast<size_t>(norm)] = BackendVector(*backend_, gains(shape.hidden));
    for (int site = 0; site < kSites; ++site)
      layer.products[static_cast<size_t>(site)] = backend_->allocate(
          int8_spec(config_.rows(static_cast<Site>(site)), config_.cols(static_cast<Site>(site))));
  }
}

PaperModel::~PaperModel() = default;

size_t PaperModel::weight_bytes() const {
  size_t bytes = weights_.embed_tokens->bytes;
  for (const LayerWeights& layer : weights_.layers)
    for (const auto& product : layer.products) bytes += product->bytes;
  return bytes;
}

size_t PaperModel::adapter_bytes(int32_t rank) const { return adapter(rank)->bytes; }

BaseModel PaperModel::base() const {
  BaseModel base{config_};
  base.weights = &weights_;
  base.backend = backend_.get();
  return base;
}

std::shared_ptr<const Adapter> PaperModel::adapter(int32_t rank) const {
  const BaseModel base = this->base();
  auto adapter = std::make_shared<Adapter>();
  adapter->max_rank = rank;
  adapter->layers.resize(config_.layers.size());
  const int32_t widest = std::max(config_.hidden_size * 2, config_.intermediate_size);
  const std::vector<float> zeros(static_cast<size_t>(rank) * static_cast<size_t>(widest));
  for (AdapterLayer& layer : adapter->layers)
    for (int i = 0; i < kProjections; ++i) {
      const auto projection = static_cast<Projection>(i);
      auto module = std::make_unique<LoraModule>();
      module->a = backend_->pack_lora_a(zeros.data(), rank, base.in_features(projection), LoraDType::kBFloat16);
      module->b = backend_->pack_lora_b(zeros.data(), base.out_features(projection), rank, LoraDType::kBFloat16);
      adapter->bytes += module->a->bytes + module->b->bytes;
      layer.modules[static_cast<size_t>(i)] = std::move(module);
    }
  return adapter;
}

const PaperStep& PaperModel::record(const StepShape& shape) const {
  const int32_t rows = shape.sequences * shape.rows;
  const int32_t length = shape.context + shape.rows;
  KvCache cache(*backend_, {static_cast<int32_t>(config_.layers.size()), config_.kv_heads, config_.head_dim, KvFormat::kBFloat16,
                            shape.sequences * pages_for(length)});
  Batch batch;
  std::vector<std::unique_ptr<BlockTable>> tables;
  std::vector<int32_t> last_rows;
  for (int32_t sequence = 0; sequence < shape.sequences; ++sequence) {
    tables.push_back(std::make_unique<BlockTable>(cache));
    tables.back()->reserve(length);
    for (int32_t row = 0; row < shape.rows; ++row) {
      batch.tokens.push_back(row);
      batch.positions.push_back(shape.context + row);
      batch.block_tables.push_back(tables.back()->pages());
    }
    last_rows.push_back(batch.rows() - 1);
  }
  std::unique_ptr<Composition> composition;
  if (shape.rank > 0) {
    composition = std::make_unique<Composition>(std::vector<AppliedAdapter>{{adapter(shape.rank), 1.0f}}, base());
    batch.segments.push_back({0, rows, composition.get()});
  }
  Scratch scratch(*backend_, config_, rows, shape.sequences, length);
  Program program;
  DecoderGraph graph(program, backend_->ops(), config_, weights_, cache, scratch, batch);
  graph.embed();
  graph.layers();
  graph.logits(last_rows);
  std::vector<LogitsRow> asked(last_rows.size());
  for (size_t i = 0; i < asked.size(); ++i) {
    asked[i].logits = scratch.logits.as<float>() + i * static_cast<size_t>(config_.vocabulary_size);
    asked[i].factor = 1;
    asked[i].candidate_limit = 1;
  }
  graph.candidates(asked);
  backend_->run(program, 1);
  return last_step();
}

}  // namespace lowrank::bench
