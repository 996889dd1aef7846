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
    for (const RopeConfig& rope : config_.ropes) weights.rope_frequencies.emplace_back(backend_, rope.frequencies);
    weights.layers.resize(config_.layers.size());
    if (calibrates_apart_) {
      for (const RopeConfig& rope : config_.ropes) host_.rope_frequencies.emplace_back(cpu_, rope.frequencies);
      host_.layers.resize(config_.layers.size());
    }
    norm(*tensors_.final_norm, weights.final_norm, host_.final_norm);
    if (calibrates_) {
      auto ids = options_.calibration_ids ? options_.calibration_ids() : std::vector<int32_t>();
      calibration_.emplace(config_, calibrates_apart_ ? host_ : weights, cpu_, options_.threads, std::move(ids),
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

  std::vector<float> vector(const TensorInfo& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    file_.tensors().read_rows(tensor, 0, 1, values.data());
    for (const float value : values)
      if (!std::isfinite(value)) throw Error(ErrorCode::kModelFormat, "Expected finite numbers in the tensor " + tensor.name + ".");
    bytes_ += values.size() * sizeof(float);
    advance(tensor.elements(), nullptr);
    return values;
  }

  void norm(const TensorInfo& tensor, BackendVector& out, BackendVector& host) {
    std::vector<float> gains = vector(tensor);
    // llama.cpp's converter adds the offset itself.
    if (!file_.is_gguf() && config_.norm_gain_offset != 0)
      for (float& gain : gains) gain += config_.norm_gain_offset;
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

  // input_rms: of the matrix's input, by the calibration, or nothing. `host`: where the calibration's own copy goes, or null.
  template <class InputRms>
  std::unique_ptr<Matrix> matrix(MatrixSpec& wanted, const RowReader& read, InputRms input_rms, std::unique_ptr<Matrix>* host) {
    std::unique_ptr<Matrix> matrix;
    if (packed_ != nullptr) {
      matrix = packed_->next(wanted);
    } else {
      const std::vector<float> rms = calibration_ ? input_rms() : std::vector<float>();
      if (!rms.empty()) Calibration::choose_transform(rms, read, wanted);
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
    return this->matrix(
        wanted, read, [&] { return is_head ? calibration_->head_input_rms() : std::vector<float>(); }, nullptr);
  }

  // Rows of one projection in Hugging Face's order. llama.cpp's converter interleaves the two halves of each head of q
  // and k in Llama files: its row (head, i, half) is ours (head, half, i).
  void read_projection(const TensorInfo& found, Projection projection, int32_t begin, int32_t count, float* out) const {
    const bool permuted = file_.is_gguf() && file_.architecture() == "llama" &&
                          (projection == Projection::kQ || projection == Projection::kK);
    if (!permuted) {
      file_.tensors().read_rows(found, begin, count, out);
      return;
    }
    const int32_t half = config_.head_dim / 2;
    const int64_t cols = found.row_length();
    for (int32_t row = begin; row < begin + count; ++row) {
      const int32_t head = row / config_.head_dim;
      const int32_t within = row % config_.head_dim;
      const int32_t source = head * config_.head_dim + 2 * (within % half) + within / half;
      file_.tensors().read_rows(found, source, 1, out + (row - begin) * cols);
    }
  }

  void layer(int32_t index, LayerWeights& out) {
    const LayerTensors& tensors = tensors_.layers[static_cast<size_t>(index)];
    for (size_t i = 0; i < kLayerNorms; ++i)
      if (tensors.norms[i] != nullptr) norm(*tensors.norms[i], out.norms[i], host_layer(index).norms[i]);
    product(index, Site::kQkv, {Projection::kQ, Projection::kK, Projection::kV}, out);
    product(index, Site::kO, {Projection::kO}, out);
    product(index, Site::kGateUp, {Projection::kGate, Projection::kUp}, out);
    product(index, Site::kDown, {Projection::kDown}, out);
  }

  LayerWeights& host_layer(int32_t index) { return calibrates_apart_ ? host_.layers[static_cast<size_t>(index)] : unused_; }

  // Stacks the projections that read one input into one matrix.
  void product(int32_t index, Site site, const std::vector<Projection>& projections, LayerWeights& out) {
    struct Part {
      const TensorInfo* tensor;
      Projection projection;
      int32_t begin;
      int32_t end;
    };
    const int32_t cols = site_cols(config_, site);
    const int32_t rows = site_rows(config_, site);
    std::vector<Part> parts;
    std::vector<float> bias;
    for (const Projection projection : projections) {
      const LayerTensors& tensors = tensors_.layers[static_cast<size_t>(index)];
      const int32_t begin = row_offset(config_, projection);
      const int32_t count = projection_rows(config_, projection);
      parts.push_back({tensors.weights[static_cast<size_t>(projection)], projection, begin, begin + count});
      const TensorInfo* bias_tensor = tensors.biases[static_cast<size_t>(projection)];
      if (bias_tensor == nullptr) continue;
      bias.resize(static_cast<size_t>(rows));
      const std::vector<float> values = vector(*bias_tensor);
      const bool permuted = file_.is_gguf() && file_.architecture() == "llama" &&
                            (projection == Projection::kQ || projection == Projection::kK);
      const int32_t half = config_.head_dim / 2;
      for (int32_t i = 0; i < count; ++i) {
        const int32_t within = i % config_.head_dim;
        const int32_t source = permuted ? i - within + 2 * (within % half) + within / half : i;
        bias[static_cast<size_t>(begin + i)] = values[static_cast<size_t>(source)];
      }
    }
    const auto at = static_cast<size_t>(site);
    hold(std::move(bias), out.biases[at], host_layer(index).biases[at]);
    MatrixSpec wanted = spec(rows, cols, schemes_.sites[at]);
    const RowReader read = [&](int32_t begin, int32_t count, float* values) {
      for (const Part& part : parts) {
        const int32_t from = std::max(begin, part.begin);
        const int32_t to = std::min(begin + count, part.end);
        if (from < to)
          read_projection(*part.tensor, part.projection, from - part.begin, to - from, values + int64_t{from - begin} * cols);
      }
    };
    out.products[at] =
        matrix(wanted, read, [&] { return calibration_->input_rms(index, site); }, &host_layer(index).products[at]);
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
  Weights host_;
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

}  // namespace

int32_t site_of(Projection projection) {
  switch (projection) {
    case Projection::kQ:
    case Projection::kK:
    case Projection::kV: return static_cast<int32_t>(Site::kQkv);
    case Projection::kO: return static_cast<int32_t>(Site::kO);
    case Projection::kGate:
    case Projection::kUp: return static_cast<int32_t>(Site::kGateUp);
    case Projection::kDown: return static_cast<int32_t>(Site::kDown);
  }
  return 0;
}

int32_t row_offset(const ModelConfig& config, Projection projection) {
  switch (projection) {
    case Projection::kK: return projection_rows(config, Projection::kQ);
    case Projection::kV: return projection_rows(config, Projection::kQ) + projection_rows(config, Projection::kK);
    case Projection::kUp: return config.intermediate_size;
    default: return 0;
  }
}

int32_t projection_rows(const ModelConfig& config, Projection projection) {
  switch (projection) {
    case Projection::kQ: return config.heads * config.head_dim;
    case Projection::kK:
    case Projection::kV: return config.kv_heads * config.head_dim;
    case Projection::kGate:
    case Projection::kUp: return config.intermediate_size;
    case Projection::kO:
    case Projection::kDown: return config.hidden_size;
  }
  return 0;
}

int32_t site_rows(const ModelConfig& config, Site site) {
  switch (site) {
    case Site::kQkv: return (config.heads + 2 * config.kv_heads) * config.head_dim;
    case Site::kGateUp: return 2 * config.intermediate_size;
    case Site::kO:
    case Site::kDown: return config.hidden_size;
  }
  return 0;
}

int32_t site_cols(const ModelConfig& config, Site site) {
  switch (site) {
    case Site::kO: return config.heads * config.head_dim;
    case Site::kDown: return config.intermediate_size;
    case Site::kQkv:
    case Site::kGateUp: return config.hidden_size;
  }
  return 0;
}

Weights load_weights(const ModelFile& file, const ModelTensors& tensors, const ModelConfig& config, const Backend& backend,
                     const WeightsOptions& options) {
  const std::string packed_path =
      is_calibrated(schemes_of(options)) && options.packed_path ? options.packed_path() : std::string();
  const bool keeps = !packed_path.empty();
  if (keeps) {
    try {
      if (const auto packed = PackedWeights::open(packed_path, backend)) {
        Weights weights = Loader(file, tensors, config, backend, options, packed.get()).load();
        weights.packed = PackedState::kRestored;
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
    } catch (const Error&) {
      // A full or read-only disk costs the next load its speed, nothing else.
    }
  }
  return weights;
}

}  // namespace lowrank
