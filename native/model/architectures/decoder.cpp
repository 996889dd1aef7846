// What the decoders of the Llama family share.
#include <cmath>
#include <string>

#include "core/error.h"
#include "model/architectures/architecture.h"
#include "ops/rope_write_kv.h"

namespace lowrank {
namespace {

constexpr int32_t kMaxWidth = 1 << 17;  // int32 sums of int8 products hold up to this many terms
// What transformers takes for Qwen where a key is absent.
constexpr int32_t kDefaultWindow = 4096;
constexpr int32_t kDefaultFullLayers = 28;

[[noreturn]] void unsupported(const std::string& what) { throw Error(ErrorCode::kModelUnsupported, what); }
[[noreturn]] void malformed(const std::string& what) { throw Error(ErrorCode::kModelFormat, what); }

int32_t read_head_dim(const ModelFile& file, const ModelConfig& config, const DecoderDefaults& defaults) {
  auto head_dim = file.find_int("head_dim", "attention.key_length", 2, kMaxHeadDim);
  if (!head_dim && !file.is_gguf() && defaults.head_dim > 0) head_dim = defaults.head_dim;
  if (!head_dim && config.hidden_size % config.heads != 0)
    malformed("Expected hidden_size to be a multiple of num_attention_heads where head_dim is absent.");
  const int32_t size = head_dim.value_or(config.hidden_size / config.heads);
  if (size % 2 != 0 || size < 2 || size > kMaxHeadDim)
    unsupported("Expected an even head_dim from 2 to " + std::to_string(kMaxHeadDim) + ".");
  if (file.find_int("", "attention.value_length", 1, kMaxWidth).value_or(size) != size)
    unsupported("Expected attention.value_length to be attention.key_length, " + std::to_string(size) + ".");
  return size;
}

int32_t read_vocabulary_size(const ModelFile& file) {
  const std::string table = file.stored_name(outer_path(file.dialect(), OuterModule::kEmbedTokens) + ".weight");
  const TensorInfo* embeddings = file.tensors().find(table);
  if (embeddings == nullptr || embeddings->shape.size() != 2 || embeddings->shape[0] < 1 || embeddings->shape[0] > (1 << 24))
    malformed("Expected a matrix of [vocabulary, hidden] for the tensor " + table + ".");
  const auto rows = static_cast<int32_t>(embeddings->shape[0]);
  const int32_t stated = file.is_gguf() ? file.find_int("", "vocab_size", 1, 1 << 24).value_or(rows)
                                        : file.get_int("vocab_size", "", 1, 1 << 24);
  if (stated != rows)
    malformed("Expected vocab_size to be the number of rows of " + table + ", " + std::to_string(rows) + ", received " +
              std::to_string(stated) + ".");
  return rows;
}

Activation read_activation(const ModelFile& file, const char* key) {
  const bool gelu = std::string(key) == "hidden_activation";
  const std::string neutral = gelu ? "gelu_pytorch_tanh" : "silu";
  const std::string name = file.find_string(key, "").value_or(neutral);
  if (name != neutral && !(!gelu && name == "swish"))
    unsupported("Expected " + neutral + " for " + key + ", received " + quote_text(name) + ".");
  return gelu ? Activation::kGeluTanh : Activation::kSilu;
}

// `switch_name`: of config.json. In GGUF a bias is there or not.
void read_biases(const ModelFile& file, ModelConfig& config, const char* switch_name, std::initializer_list<Projection> projections) {
  const bool on = file.find_bool(switch_name, "").value_or(false);
  for (const Projection projection : projections)
    config.biases[static_cast<size_t>(projection)] = on ? BiasRule::kRequired : BiasRule::kSwitchedOff;
}

}  // namespace

ModelConfig read_decoder_config(const ModelFile& file, const DecoderDefaults& defaults) {
  ModelConfig config;
  config.architecture = file.architecture();
  const int32_t layers = file.get_int("num_hidden_layers", "block_count", 1, 1024);
  const auto get_size = [&](const char* hf, const char* gguf, int32_t most) {
    const auto found = file.find_layer_int(hf, gguf, 1, most, layers);
    if (!found) malformed(std::string("Expected ") + (file.is_gguf() ? gguf : hf) + " in the model's configuration.");
    return *found;
  };
  config.layer_count = layers;
  config.layers.resize(static_cast<size_t>(layers));
  config.hidden_size = file.get_int("hidden_size", "embedding_length", 1, kMaxWidth);
  config.intermediate_size = get_size("intermediate_size", "feed_forward_length", kMaxWidth);
  config.heads = get_size("num_attention_heads", "attention.head_count", 4096);
  config.kv_heads = file.is_gguf() || defaults.kv_heads_of_heads
                        ? file.find_layer_int("num_key_value_heads", "attention.head_count_kv", 1, 4096, layers).value_or(config.heads)
                        : file.get_int("num_key_value_heads", "", 1, 4096);
  config.head_dim = read_head_dim(file, config, defaults);
  if (config.heads % config.kv_heads != 0) malformed("Expected num_attention_heads to be a multiple of num_key_value_heads.");
  if (int64_t{config.heads} * config.head_dim > kMaxWidth)
    unsupported("Expected num_attention_heads * head_dim of at most " + std::to_string(kMaxWidth) + ".");
  config.vocabulary_size = read_vocabulary_size(file);
  config.trained_context = file.get_int("max_position_embeddings", "context_length", 1, 1 << 24);
  const auto epsilon = file.find_float("rms_norm_eps", "attention.layer_norm_rms_epsilon", 0, 1);
  if (!epsilon && file.is_gguf()) malformed("Expected attention.layer_norm_rms_epsilon in the model's configuration.");
  config.norm_epsilon = epsilon.value_or(defaults.norm_epsilon);
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.tied_embeddings =
      file.is_gguf() ? !file.has_tensor(outer_path(Dialect::kGguf, OuterModule::kLmHead) + ".weight")
                     : file.find_bool("tie_word_embeddings", "").value_or(defaults.tied);
  config.activation = read_activation(file, defaults.activation_key);
  config.norms.set(LayerNorm::kBeforeAttention);
  config.norms.set(LayerNorm::kBeforeFeedForward);
  for (size_t i = 0; i < kProjections; ++i) {
    const auto projection = static_cast<Projection>(i);
    config.tensors[i] = {name_of(projection), 0, config.out_features(projection)};
  }
  return config;
}

void fuse_projections(ModelConfig& config, Site site) {
  for (const Projection projection : projections_of(site))
    config.tensors[static_cast<size_t>(projection)] = {fused_name_of(site).value(), config.row_offset(projection), config.rows(site)};
}

void read_attention_biases(const ModelFile& file, ModelConfig& config) {
  if (file.is_gguf()) {
    for (const Projection projection : {Projection::kQ, Projection::kK, Projection::kV})
      config.biases[static_cast<size_t>(projection)] = BiasRule::kOptional;
    return;
  }
  read_biases(file, config, "attention_bias", {Projection::kQ, Projection::kK, Projection::kV, Projection::kO});
}

void read_mlp_biases(const ModelFile& file, ModelConfig& config) {
  read_biases(file, config, "mlp_bias", {Projection::kGate, Projection::kUp, Projection::kDown});
}

void read_llama_biases(const ModelFile& file, ModelConfig& config) {
  if (file.is_gguf()) {
    config.biases.fill(BiasRule::kOptional);
    return;
  }
  read_attention_biases(file, config);
  read_mlp_biases(file, config);
}

std::optional<std::vector<bool>> read_sliding_layers(const ModelFile& file, size_t layers) {
  const auto types = file.find_strings("layer_types");
  if (!types) return std::nullopt;
  if (types->size() != layers)
    malformed("Expected an entry for each of the " + std::to_string(layers) + " layers in layer_types, received " +
              std::to_string(types->size()) + ".");
  std::vector<bool> sliding;
  for (const std::string& type : *types) {
    if (type != "full_attention" && type != "sliding_attention")
      malformed("Expected full_attention or sliding_attention in layer_types, received " + quote_text(type) + ".");
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

void read_optional_windows(const ModelFile& file, ModelConfig& config) {
  const bool used = file.find_bool("use_sliding_window", "").value_or(false);
  const bool has_window = !file.is_gguf() && (file.has("sliding_window") || file.config()->find("sliding_window") == nullptr);
  const int32_t window = file.find_int("sliding_window", "", 1, 1 << 24).value_or(kDefaultWindow);
  const int32_t full = file.find_int("max_window_layers", "", 0, 1 << 20).value_or(kDefaultFullLayers);
  const auto types = read_sliding_layers(file, config.layers.size());
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const bool sliding = types ? (*types)[i] : used && has_window && static_cast<int32_t>(i) >= full;
    if (!sliding) continue;
    if (!used || !has_window)
      malformed("Expected use_sliding_window and sliding_window where layer_types has sliding_attention, received none.");
    config.layers[i].window = window;
  }
}

}  // namespace lowrank
