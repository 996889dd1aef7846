#include "model/model_tensors.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/error.h"

namespace lowrank {
namespace {

constexpr size_t kNamesShown = 5;
constexpr int64_t kComparedElements = int64_t{1} << 18;  // at a time

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::kModelFormat, what); }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

bool skip(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool skip_digits(std::string_view& text) {
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(end);
  return end > 0;
}

// "[model.][layers.<n>.self_attn.]rotary_emb.inv_freq", "blk.<n>.attn_rot_embd.weight".
bool has_rope_buffer_name(std::string_view name) {
  if (skip(name, "blk.")) return skip_digits(name) && name == ".attn_rot_embd.weight";
  skip(name, "model.");
  if (skip(name, "layers.") && !(skip_digits(name) && skip(name, ".self_attn."))) return false;
  return name == "rotary_emb.inv_freq";
}

class Finder {
 public:
  Finder(const ModelFile& file, ModelConfig& config) : file_(file), config_(config) {}

  ModelTensors find() {
    ModelTensors tensors;
    tensors.embed_tokens = require(outer_name(OuterModule::kEmbedTokens), config_.vocabulary_size, config_.hidden_size);
    tensors.lm_head = find_head(*tensors.embed_tokens);
    // Of two that are equal, one stands for both.
    if (config_.tied_embeddings)
      config_.tied_embeddings = tensors.lm_head == nullptr;
    else if (file_.tensors().same_bytes(*tensors.lm_head, *tensors.embed_tokens))
      tensors.lm_head = nullptr;
    tensors.final_norm = require(outer_name(OuterModule::kFinalNorm), 1, config_.hidden_size);
    for (int32_t i = 0; i < config_.layer_count; ++i) tensors.layers.push_back(layer(i, tensors.ignored));
    check_optional_biases(tensors);
    check_left();
    return tensors;
  }

 private:
  std::string outer_name(OuterModule module) const { return outer_path(file_.dialect(), module) + ".weight"; }
  std::string layer_name(int32_t layer, const ModuleName& module) const { return layer_path(file_.dialect(), layer, module); }

  // `rows` 1: a vector.
  const TensorInfo* find_shaped(const std::string& name, int64_t rows, int64_t cols) const {
    const TensorInfo* found = file_.claim(name);
    if (found == nullptr) return nullptr;
    const bool vector = rows == 1 && found->shape.size() == 1 && found->shape[0] == cols;
    const bool matrix = found->shape.size() == 2 && found->shape[0] == rows && found->shape[1] == cols;
    if (!vector && !matrix)
      fail("Expected the shape [" + (rows == 1 ? "" : std::to_string(rows) + ", ") + std::to_string(cols) + "] for the tensor " +
           found->name + ", received " + shape_text(found->shape) + ".");
    return found;
  }

  const TensorInfo* require(const std::string& name, int64_t rows, int64_t cols) const {
    const TensorInfo* found = find_shaped(name, rows, cols);
    if (found == nullptr) fail("Expected the tensor " + file_.stored_name(name) + " in the model, it is missing.");
    return found;
  }

  LayerTensors layer(int32_t index, std::vector<std::string>& ignored) const {
    LayerTensors out;
    for (size_t i = 0; i < kLayerNorms; ++i) {
      const auto norm = static_cast<LayerNorm>(i);
      if (config_.norms.has(norm))
        out.norms[i] = require(layer_name(index, name_of(norm, config_.norms)) + ".weight", 1, config_.norm_size(norm));
    }
    for (size_t i = 0; i < kProjections; ++i) {
      const auto projection = static_cast<Projection>(i);
      const ProjectionTensor& at = config_.tensors[i];
      const std::string base = layer_name(index, at.module);
      const auto rows_of = [&](const TensorInfo* found) -> TensorRows {
        return {found, at.first_row, config_.out_features(projection)};
      };
      out.weights[i] = rows_of(require(base + ".weight", at.tensor_rows, config_.in_features(projection)));
      switch (config_.biases[i]) {
        case BiasRule::kNone: break;
        case BiasRule::kRequired: out.biases[i] = rows_of(require(base + ".bias", 1, at.tensor_rows)); break;
        case BiasRule::kOptional: out.biases[i] = rows_of(find_shaped(base + ".bias", 1, at.tensor_rows)); break;
        case BiasRule::kSwitchedOff:
          if (const TensorInfo* found = find_shaped(base + ".bias", 1, at.tensor_rows))
            if (at.first_row == 0) ignored.push_back(found->name);
          break;
      }
    }
    return out;
  }

  static bool has_bias(const ModelTensors& tensors, size_t layer, size_t projection) {
    return tensors.layers[layer].biases[projection].tensor != nullptr;
  }

  // A layer that lacks what others have is a file with a fault, not a model without biases.
  void check_optional_biases(const ModelTensors& tensors) const {
    for (size_t i = 0; i < kProjections; ++i)
      for (size_t layer = 0; layer < tensors.layers.size(); ++layer)
        if (has_bias(tensors, layer, i) != has_bias(tensors, 0, i)) {
          const size_t without = has_bias(tensors, layer, i) ? 0 : layer;
          fail("Expected the tensor " +
               file_.stored_name(layer_name(static_cast<int32_t>(without), config_.tensors[i].module)) +
               ".bias in the model, as in another layer; it is missing.");
        }
  }

  const TensorInfo* find_head(const TensorInfo& embed_tokens) const {
    const std::string name = outer_name(OuterModule::kLmHead);
    if (!config_.tied_embeddings) return require(name, config_.vocabulary_size, config_.hidden_size);
    const TensorInfo* head = find_shaped(name, config_.vocabulary_size, config_.hidden_size);
    return head != nullptr && !equal_values(*head, embed_tokens) ? head : nullptr;
  }

  bool equal_values(const TensorInfo& a, const TensorInfo& b) const {
    const int64_t cols = a.row_length();
    const int64_t step = std::max<int64_t>(1, kComparedElements / cols);
    std::vector<float> left(static_cast<size_t>(step * cols));
    std::vector<float> right(left.size());
    for (int64_t row = 0; row < a.rows(); row += step) {
      const int64_t count = std::min(step, a.rows() - row);
      file_.tensors().read_rows(a, row, count, left.data());
      file_.tensors().read_rows(b, row, count, right.data());
      if (!std::equal(left.begin(), left.begin() + count * cols, right.begin())) return false;
    }
    return true;
  }

  // Old checkpoints keep the frequencies of RoPE. They mean nothing, as they follow from the configuration; so they must.
  bool is_rope_buffer(const TensorInfo& tensor) const {
    if (!has_rope_buffer_name(tensor.name)) return false;
    std::vector<float> stored(static_cast<size_t>(config_.head_dim / 2));
    if (tensor.shape != std::vector<int64_t>{config_.head_dim / 2})
      fail("Expected head_dim / 2 elements in the tensor " + tensor.name + ", received the shape " + shape_text(tensor.shape) + ".");
    file_.tensors().read_rows(tensor, 0, 1, stored.data());
    // Half precision keeps 1e-3 of a frequency, and 1e-7 of the smallest ones. Buffers were saved before scaling, later after it.
    for (const RopeConfig& rope : config_.ropes) {
      bool plain = true;
      bool scaled = true;
      for (size_t i = 0; i < stored.size(); ++i) {
        const auto near = [&](double expected) {
          return std::abs(static_cast<double>(stored[i]) - expected) <= 1e-2 * expected + 1e-7;
        };
        plain = plain && near(std::pow(static_cast<double>(rope.theta), -2.0 * static_cast<double>(i) / config_.head_dim));
        scaled = scaled && near(static_cast<double>(rope.frequencies[i]));
      }
      if (plain || scaled) return true;
    }
    fail("Expected the RoPE frequencies of the configuration in the tensor " + tensor.name + ", received others.");
  }

  void check_left() const {
    std::string names;
    size_t left = 0;
    for (const TensorInfo& tensor : file_.tensors().tensors()) {
      if (file_.was_claimed(tensor) || is_rope_buffer(tensor)) continue;
      if (++left <= kNamesShown) names += (left == 1 ? "" : ", ") + quote_text(tensor.name);
    }
    if (left == 0) return;
    if (left > kNamesShown) names += " and " + std::to_string(left - kNamesShown) + " more";
    fail("Expected only tensors that a " + config_.architecture + " model of " + std::to_string(config_.layer_count) +
         " layers has, received also " + names + ". The configuration is another model's, or the file is damaged.");
  }

  const ModelFile& file_;
  ModelConfig& config_;
};

}  // namespace

int64_t ModelTensors::elements() const {
  int64_t sum = 0;
  const auto add = [&](const TensorInfo* tensor) { sum += tensor == nullptr ? 0 : tensor->elements(); };
  for (const TensorInfo* tensor : {embed_tokens, lm_head, final_norm}) add(tensor);
  for (const LayerTensors& layer : layers) {
    for (const TensorRows& rows : layer.weights) sum += rows.count * rows.tensor->row_length();
    for (const TensorRows& rows : layer.biases) sum += rows.tensor == nullptr ? 0 : rows.count;
    for (const TensorInfo* tensor : layer.norms) add(tensor);
  }
  return sum;
}

ModelTensors find_model_tensors(const ModelFile& file, ModelConfig& config) { return Finder(file, config).find(); }

}  // namespace lowrank
