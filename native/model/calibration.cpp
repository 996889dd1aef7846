#include "model/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lowrank {
namespace {

// Without a text, the tokens are consecutive ones of the frequent ids. Sentences serve a little better (their KL divergence
// is 5 to 7 % lower on SmolLM2), and 64 tokens as well as 256: outlier channels are the model's, hardly the text's.
constexpr int32_t kIds = 64;
constexpr int32_t kFirstId = 1000;
// Rows of a matrix that its columns' rms is taken from, evenly spread: enough for a factor that only shifts rounding.
constexpr int32_t kSampledRows = 1024;
// Bounds of the smoothing, so that a channel which is silent in both moves nothing far.
constexpr float kSmoothingBound = 64;

std::vector<int32_t> ids_or_default(std::vector<int32_t> ids) {
  if (ids.empty()) {
    ids.resize(kIds);
    std::iota(ids.begin(), ids.end(), kFirstId);
  }
  return ids;
}

KvCacheSpec cache_spec(const ModelConfig& config, int32_t tokens) {
  return {config.layer_count, config.kv_heads, config.head_dim, KvFormat::kBFloat16,
          pages_for(tokens)};
}

// The root mean square of each column of a matrix over some of its rows.
std::vector<double> sampled_column_rms(const RowReader& read, const MatrixSpec& spec) {
  const int32_t step = std::max(1, spec.rows / kSampledRows);
  std::vector<float> row(static_cast<size_t>(spec.cols));
  std::vector<double> rms(static_cast<size_t>(spec.cols), 0.0);
  int32_t count = 0;
  for (int32_t n = 0; n < spec.rows; n += step, ++count) {
    read(n, 1, row.data());
    for (size_t k = 0; k < row.size(); ++k) rms[k] += static_cast<double>(row[k]) * static_cast<double>(row[k]);
  }
  for (double& column : rms) column = std::sqrt(column / count);
  return rms;
}

// The channels that are largest on either side of the product, ascending. What is left of a channel on either side once it is
// smoothed is the square root of its size here.
std::vector<int32_t> largest_channels(const std::vector<float>& input_rms, const std::vector<double>& weight_rms, int32_t count) {
  std::vector<double> sizes(input_rms.size());
  for (size_t k = 0; k < sizes.size(); ++k) {
    const double size = static_cast<double>(input_rms[k]) * weight_rms[k];
    sizes[k] = std::isnan(size) ? std::numeric_limits<double>::infinity() : size;  // NaN has no place in an order
  }
  std::vector<int32_t> channels(input_rms.size());
  std::iota(channels.begin(), channels.end(), 0);
  std::stable_sort(channels.begin(), channels.end(), [&](int32_t a, int32_t b) {
    return sizes[static_cast<size_t>(a)] > sizes[static_cast<size_t>(b)];
  });
  channels.resize(static_cast<size_t>(count));
  std::sort(channels.begin(), channels.end());
  return channels;
}

std::vector<float> smoothing_of(const std::vector<float>& input_rms, const std::vector<double>& weight_rms) {
  // Half the weight of the median over channels: the few tokens may have left a channel silent that others will not.
  std::vector<float> ordered = input_rms;
  for (float& rms : ordered)
    if (std::isnan(rms)) rms = std::numeric_limits<float>::infinity();
  const auto middle = ordered.begin() + static_cast<std::ptrdiff_t>(ordered.size() / 2);
  std::nth_element(ordered.begin(), middle, ordered.end());
  const double floor = static_cast<double>(*middle) * static_cast<double>(*middle);
  std::vector<float> smoothing(input_rms.size());
  for (size_t k = 0; k < input_rms.size(); ++k) {
    const double x = static_cast<double>(input_rms[k]);
    const double factor = std::sqrt(weight_rms[k] / std::sqrt(x * x + floor));
    // NaN and infinity where a channel is zero in input or weights: then no smoothing.
    smoothing[k] = factor > 0 && std::isfinite(factor)
                       ? std::clamp(static_cast<float>(factor), 1 / kSmoothingBound, kSmoothingBound)
                       : 1.0f;
  }
  return smoothing;
}

}  // namespace

Calibration::Calibration(const ModelConfig& config, const DecoderWeights& weights, const Backend& backend, int threads,
                         std::vector<int32_t> ids, const std::function<void(int32_t row, float* out)>& read_embedding)
    : config_(config), weights_(weights), backend_(backend), threads_(threads), ids_(ids_or_default(std::move(ids))),
      scratch_(backend, config, tokens(), 1, tokens()), cache_(backend, cache_spec(config, tokens())), blocks_(cache_) {
  blocks_.reserve(tokens());
  for (int32_t position = 0; position < tokens(); ++position) {
    // A tokenizer may have more entries than the model.
    const int32_t token = ids_[static_cast<size_t>(position)] % config.vocabulary_size;
    batch_.tokens.push_back(token);
    batch_.positions.push_back(position);
    batch_.block_tables.push_back(blocks_.pages());
    float* x = scratch_.x.as<float>() + static_cast<int64_t>(position) * config.hidden_size;
    read_embedding(token, x);
    for (int32_t k = 0; k < config.hidden_size; ++k) x[k] *= config.embedding_multiplier;
  }
  Recorder(context()).angles();
  run();
}

void Calibration::run() {
  program_.run(threads_);
  program_.clear();
}

void Calibration::observe(int32_t, Site site, const float* input, int32_t stride) {
  run();
  (*pack_)(site, column_rms(input, config_.cols(site), stride));
}

void Calibration::layer(int32_t index, const Pack& pack) {
  pack_ = &pack;
  Recorder recorder(context(), this);
  recorder.begin_layer(index);
  config_.layer.to_keys(recorder);
  config_.layer.from_attention(recorder);
  pack_ = nullptr;
}

std::vector<float> Calibration::head_input_rms() {
  const Activations values = scratch_.float_activations(config_.hidden_size);
  Recorder(context()).norm_head_input(nullptr, batch_.rows(), {}, values, {});
  run();
  return column_rms(values.values, config_.hidden_size, values.stride);
}

std::vector<float> Calibration::column_rms(const float* rows, int32_t cols, int32_t stride) const {
  std::vector<float> rms(static_cast<size_t>(cols), 0.0f);
  for (int32_t m = 0; m < batch_.rows(); ++m)
    for (int32_t k = 0; k < cols; ++k) rms[static_cast<size_t>(k)] += rows[int64_t{m} * stride + k] * rows[int64_t{m} * stride + k];
  for (float& channel : rms) channel = std::sqrt(channel / static_cast<float>(batch_.rows()));
  return rms;
}

void Calibration::choose_transform(const std::vector<float>& input_rms, const RowReader& read, MatrixSpec& spec) {
  const QuantScheme scheme = spec.scheme;
  const int32_t outliers = outlier_channels(scheme, spec.cols);
  if (!scheme.smoothed && outliers == 0) return;
  const std::vector<double> weight_rms = sampled_column_rms(read, spec);
  spec.set_transform(scheme.rotated, largest_channels(input_rms, weight_rms, outliers),
                     scheme.smoothed ? smoothing_of(input_rms, weight_rms) : std::vector<float>());
}

}  // namespace lowrank
