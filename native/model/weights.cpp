#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "model/calibration.h"
#include "model/packed_weights.h"

namespace lowrank {
namespace {

WeightSchemes schemes_of(const WeightsOptions& options) { return options.schemes.value_or(weight_schemes(options.precision)); }

class Loader {
 public:
  // `packed`: where the matrices come from; null: from the file.
  Loader(const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config, const Backend& backend,
         const WeightsOptions& options, PackedWeights* packed)
      : file_(file),
        tensors_(tensors),
        config_(config),
        backend_(backend),
        options_(options),
        packed_(packed),
        schemes_(schemes_of(options)),
        cpu_(backend.shares_host_memory() ? backend : cpu_backend()),
        calibrates_(is_calibrated(schemes_) && packed == nullptr),
        calibrates_apart_(calibrates_ && !backend.shares_host_memory()) {}

  Weights load() {
    Weights weights;
    total_ = tensors_.elements();
    weights.layers.resize(static_cast<size_t>(config_.layer_count));
    if (calibrates_apart_) host_.layers.resize(weights.layers.size());
    norm(*tensors_.final_norm, config_.logits_multiplier, weights.final_norm, host_.final_norm);
    if (calibrates_) {
      auto ids = options_.calibration_ids ? options_.calibration_ids() : std::vector<int32_t>();
      calibration_.emplace(config_, calibrates_apart_ ? host_ : static_cast<const DecoderWeights&>(weights), cpu_, options_.threads, std::move(ids),
                           [&](int32_t row, float* out) { file_.tensors().read_rows(*tensors_.embed_tokens, row, 1, out); });
    }
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      layer(static_cast<int32_t>(i), weights.layers[i]);
      // The calibration has run the last product of the layer before.
      if (calibrates_apart_ && i > 0) host_.layers[i - 1] = {};
    }
    // The tables come last: which channels of the head's input are outliers is known only now.
    weights.embed_tokens = table(*tensors_.embed_tokens, tensors_.lm_head == nullptr);
    if (tensors_.lm_head == nullptr) {
      weights.lm_head = weights.embed_tokens.get();
    } else {
      weights.lm_head_matrix = table(*tensors_.lm_head, true);
      weights.lm_head = weights.lm_head_matrix.get();
    }
    calibration_.reset();
    if (packed_ != nullptr) packed_->read(options_.threads, [this](int64_t elements) { report(done_ - total_matrices_ + elements); });
    weights.bytes = bytes_;
    weights.parameters = done_;
    return weights;
  }

 private:
  void advance(int64_t parameters, const Matrix* matrix) {
    done_ += parameters;
    if (matrix != nullptr) bytes_ += matrix->bytes;
    if (packed_ == nullptr) report(done_);
  }
  void report(int64_t done) const {
    if (options_.progress) options_.progress(done, total_);
  }

  std::vector<float> vector(const TensorRows& part) {
    std::vector<float> values(static_cast<size_t>(part.tensor->elements()));
    file_.tensors().read_rows(*part.tensor, 0, 1, values.data());
    values.erase(values.begin(), values.begin() + part.first);
    values.resize(static_cast<size_t>(part.count));
    for (const float value : values)
      if (!std::isfinite(value))
        throw Error(ErrorCode::kModelFormat, "Expected finite numbers in the tensor " + part.tensor->name + ".");
    bytes_ += values.size() * sizeof(float);
    advance(part.count, nullptr);
    return values;
  }

  void norm(const TensorInfo& tensor, float multiplier, BackendVector& out, BackendVector& host) {
    std::vector<float> gains = vector({&tensor, 0, static_cast<int32_t>(tensor.elements())});
    // llama.cpp's converter adds the offset itself.
    const float offset = file_.is_gguf() ? 0 : config_.norm_gain_offset;
    if (offset != 0 || multiplier != 1)
      for (float& gain : gains) gain = (gain + offset) * multiplier;
    hold(std::move(gains), out, host);
  }

  void hold(std::vector<float> values, BackendVector& out, BackendVector& host) const {
    if (calibrates_apart_) host = BackendVector(cpu_, values);
    out = BackendVector(backend_, std::move(values));
  }

  static MatrixSpec spec(int32_t rows, int32_t cols, const QuantScheme& scheme) {
    MatrixSpec out{rows, cols, scheme};
    out.scheme.outliers = outlier_channels(scheme, cols);
    return out;
  }

  // input_rms: of the matrix's input, by the calibration; empty: no transform. `host`: where the calibration's own copy goes, or null.
  std::unique_ptr<Matrix> matrix(MatrixSpec& wanted, const RowReader& read, const std::vector<float>& input_rms,
                                 std::unique_ptr<Matrix>* host) {
    std::unique_ptr<Matrix> matrix;
    if (packed_ != nullptr) {
      matrix = packed_->next(wanted);
    } else {
      if (!input_rms.empty()) Calibration::choose_transform(input_rms, read, wanted);
      matrix = backend_.pack(wanted, read, options_.threads);
      if (calibrates_apart_ && host != nullptr) *host = cpu_.pack(wanted, read, options_.threads);
    }
    const int64_t elements = int64_t{wanted.rows} * wanted.cols;
    total_matrices_ += elements;
    advance(elements, matrix.get());
    return matrix;
  }

  // A table that is only gathered from needs no transform of an input that it does not have.
  std::unique_ptr<Matrix> table(const TensorInfo& tensor, bool is_head) {
    MatrixSpec wanted = spec(config_.vocabulary_size, config_.hidden_size, is_head ? schemes_.lm_head : schemes_.embed_tokens);
    const RowReader read = [&](int32_t begin, int32_t count, float* out) { file_.tensors().read_rows(tensor, begin, count, out); };
    return matrix(wanted, read, calibration_ && is_head ? calibration_->head_input_rms() : std::vector<float>(), nullptr);
  }

  RowOrder order_of(Projection projection) const {
    return file_.is_gguf() ? config_.gguf_row_order[static_cast<size_t>(projection)] : RowOrder::kPlain;
  }

  // Rows of one projection in the plain order.
  void read_projection(const TensorRows& part, Projection projection, int32_t begin, int32_t count, float* out) const {
    const RowOrder order = order_of(projection);
    if (order == RowOrder::kPlain) {
      file_.tensors().read_rows(*part.tensor, part.first + begin, count, out);
      return;
    }
    const int64_t cols = part.tensor->row_length();
    for (int32_t row = begin; row < begin + count; ++row)
      file_.tensors().read_rows(*part.tensor, part.first + stored_row(order, config_.head_dim, row), 1, out + (row - begin) * cols);
  }

  void layer(int32_t index, LayerWeights& out) {
    const LayerTensors& tensors = tensors_.layers[static_cast<size_t>(index)];
    for (size_t i = 0; i < kLayerNorms; ++i)
      if (tensors.norms[i] != nullptr) norm(*tensors.norms[i], 1, out.norms[i], host_layer(index).norms[i]);
    if (calibration_) {
      calibration_->layer(index, [&](Site site, const std::vector<float>& input_rms) { product(index, site, input_rms, out); });
      return;
    }
    for (int site = 0; site < kSites; ++site) product(index, static_cast<Site>(site), {}, out);
  }

  LayerWeights& host_layer(int32_t index) { return calibrates_apart_ ? host_.layers[static_cast<size_t>(index)] : unused_; }

  // The biases of a site, stacked; empty where it has none.
  std::vector<float> stacked_bias(const LayerTensors& tensors, Site site) {
    std::vector<float> bias;
    for (const Projection projection : projections_of(site)) {
      const TensorRows& part = tensors.biases[static_cast<size_t>(projection)];
      if (part.tensor == nullptr) continue;
      bias.resize(static_cast<size_t>(config_.rows(site)));
      const std::vector<float> values = vector(part);
      float* const out = bias.data() + config_.row_offset(projection);
      for (int32_t i = 0; i < part.count; ++i)
        out[i] = values[static_cast<size_t>(stored_row(order_of(projection), config_.head_dim, i))];
    }
    return bias;
  }

  // Stacks the projections that read one input into one matrix.
  void product(int32_t index, Site site, const std::vector<float>& input_rms, LayerWeights& out) {
    const LayerTensors& tensors = tensors_.layers[static_cast<size_t>(index)];
    const int32_t cols = config_.cols(site);
    const auto at = static_cast<size_t>(site);
    hold(stacked_bias(tensors, site), out.biases[at], host_layer(index).biases[at]);
    MatrixSpec wanted = spec(config_.rows(site), cols, schemes_.sites[at]);
    const RowReader read = [&](int32_t begin, int32_t count, float* values) {
      for (const Projection projection : projections_of(site)) {
        const TensorRows& part = tensors.weights[static_cast<size_t>(projection)];
        const int32_t offset = config_.row_offset(projection);
        const int32_t from = std::max(begin, offset);
        const int32_t to = std::min(begin + count, offset + part.count);
        if (from < to) read_projection(part, projection, from - offset, to - from, values + int64_t{from - begin} * cols);
      }
    };
    out.products[at] = matrix(wanted, read, input_rms, &host_layer(index).products[at]);
  }

  const ModelFile& file_;
  const ModelTensors& tensors_;
  const ModelConfig& config_;
  const Backend& backend_;
  const WeightsOptions& options_;
  PackedWeights* const packed_;
  const WeightSchemes schemes_;
  // The calibration runs on the CPU, whatever the weights are for: so they are the same on every device. For those of
  // a device it has what it needs of its own, a layer at a time.
  const Backend& cpu_;
  const bool calibrates_;
  const bool calibrates_apart_;
  DecoderWeights host_;
  LayerWeights unused_;
  std::optional<Calibration> calibration_;
  int64_t done_ = 0;
  int64_t total_ = 0;
  int64_t total_matrices_ = 0;  // of done_
  size_t bytes_ = 0;
};

// In the order in which Loader asks for them.
std::vector<const Matrix*> matrices_of(const Weights& weights) {
  std::vector<const Matrix*> matrices;
  for (const LayerWeights& layer : weights.layers)
    for (const auto& product : layer.products) matrices.push_back(product.get());
  matrices.push_back(weights.embed_tokens.get());
  if (weights.lm_head_matrix != nullptr) matrices.push_back(weights.lm_head_matrix.get());
  return matrices;
}

// Takes the weights that were just written from their file, where it may be mapped.
void share(Weights& weights, const std::string& path, const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config,
           const Backend& backend, const WeightsOptions& options) {
  const auto packed = PackedWeights::open(path, backend, true);
  if (packed == nullptr || !packed->is_shared()) return;
  WeightsOptions silent = options;
  silent.progress = nullptr;
  Weights shared = Loader(file, tensors, config, backend, silent, packed.get()).load();
  shared.packed = weights.packed;
  shared.shared = true;
  weights = std::move(shared);
}

}  // namespace

Weights load_weights(const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config, const Backend& backend,
                     const WeightsOptions& options) {
  const std::string packed_path =
      is_calibrated(schemes_of(options)) && options.packed_path ? options.packed_path() : std::string();
  const bool keeps = !packed_path.empty();
  if (keeps) {
    try {
      if (const auto packed = PackedWeights::open(packed_path, backend, options.share_packed)) {
        Weights weights = Loader(file, tensors, config, backend, options, packed.get()).load();
        weights.packed = PackedState::kRestored;
        weights.shared = packed->is_shared();
        return weights;
      }
    } catch (const Error& error) {
      // Also of the model's own file, then it comes again below.
      if (error.code() != ErrorCode::kIo) throw;
    }
  }
  Weights weights = Loader(file, tensors, config, backend, options, nullptr).load();
  if (keeps) {
    try {
      write_packed_weights(packed_path, backend, matrices_of(weights));
      weights.packed = PackedState::kWritten;
      if (options.share_packed) share(weights, packed_path, file, tensors, config, backend, options);
    } catch (const Error&) {
      // A full or read-only disk costs the next load its speed, nothing else.
    }
  }
  return weights;
}

}  // namespace lowrank
