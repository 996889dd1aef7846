#include "model/config_keys.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "core/error.h"

namespace lowrank {
namespace {

// The value at which a setting changes nothing. Null does so for each in config.json.
enum class Neutral : uint8_t { kNull, kFalse, kZero, kOne, kEmpty, kSilu, kContext };

struct Setting {
  std::string_view key;
  Neutral neutral;
};

// config.json: settings of other architectures that change what is computed.
constexpr Setting kOtherSettings[] = {
    // attention
    {"attention_bias", Neutral::kFalse},
    {"attn_bias", Neutral::kFalse},
    {"attn_logit_softcapping", Neutral::kNull},
    {"attn_output_gate", Neutral::kFalse},
    {"attention_multiplier", Neutral::kNull},
    {"attention_chunk_size", Neutral::kNull},
    {"add_cross_attention", Neutral::kFalse},
    {"clip_qkv", Neutral::kNull},
    {"is_encoder_decoder", Neutral::kFalse},
    {"num_kv_shared_layers", Neutral::kZero},
    {"qk_layernorm", Neutral::kFalse},
    {"query_pre_attn_scalar", Neutral::kNull},
    {"use_bidirectional_attention", Neutral::kFalse},
    {"use_qk_norm", Neutral::kFalse},
    // windows
    {"layer_types", Neutral::kNull},
    {"sliding_window", Neutral::kNull},
    {"sliding_window_pattern", Neutral::kNull},
    {"use_sliding_window", Neutral::kFalse},
    // positions
    {"alibi", Neutral::kFalse},
    {"no_rope_layer_interval", Neutral::kNull},
    {"no_rope_layers", Neutral::kEmpty},
    {"rope_interleaved", Neutral::kFalse},
    {"rope_local_base_freq", Neutral::kNull},
    {"rotary_pct", Neutral::kOne},
    {"use_mrope", Neutral::kFalse},
    // feed-forward
    {"hidden_activation", Neutral::kSilu},
    {"mlp_bias", Neutral::kFalse},
    {"n_routed_experts", Neutral::kZero},
    {"num_experts", Neutral::kZero},
    {"num_local_experts", Neutral::kZero},
    // scales
    {"dim_model_base", Neutral::kNull},
    {"embedding_multiplier", Neutral::kOne},
    {"final_logit_softcapping", Neutral::kNull},
    {"logit_scale", Neutral::kOne},
    {"logits_scaling", Neutral::kOne},
    {"residual_multiplier", Neutral::kOne},
    {"scale_depth", Neutral::kNull},
    {"scale_emb", Neutral::kOne},
    // the graph
    {"compression_config", Neutral::kNull},
    {"parallel_attn", Neutral::kFalse},
    {"per_layer_config", Neutral::kEmpty},
    {"use_parallel_residual", Neutral::kFalse},
};

// GGUF: hyperparameters of other architectures, at the value that changes nothing.
constexpr Setting kGgufSettings[] = {
    {"attention.causal", Neutral::kOne},
    {"attention.clamp_kqv", Neutral::kZero},
    {"attention.max_alibi_bias", Neutral::kZero},
    {"attention.shared_kv_layers", Neutral::kZero},
    {"attention.sliding_window", Neutral::kContext},
    {"attn_logit_softcapping", Neutral::kZero},
    {"embedding_scale", Neutral::kOne},
    {"expert_count", Neutral::kZero},
    {"expert_shared_count", Neutral::kZero},
    {"expert_used_count", Neutral::kZero},
    {"final_logit_softcapping", Neutral::kZero},
    {"leading_dense_block_count", Neutral::kZero},
    {"logit_scale", Neutral::kOne},
    {"nextn_predict_layers", Neutral::kZero},
    {"residual_scale", Neutral::kOne},
    {"rope.scaling.attn_factor", Neutral::kOne},
    {"use_parallel_residual", Neutral::kFalse},
};

// GGUF: hyperparameters that no logit of these architectures depends on.
constexpr std::string_view kGgufMeaningless[] = {
    "attention.layer_norm_epsilon",          // of norms with a mean; all of these are RMS norms
    "pooling_type",                          // of embeddings of whole texts
    "rope.scaling.finetuned",                // a note on the training
    "rope.scaling.original_context_length",  // used by longrope, and by yarn, which is refused
    "tensor_data_layout",                    // a note on the source
};

bool is_neutral(const Json& value, Neutral neutral) {
  if (value.is_null()) return true;
  switch (neutral) {
    case Neutral::kNull: return false;
    case Neutral::kFalse: return value.is_bool() && !value.as_bool();
    case Neutral::kZero: return value.is_number() && value.as_double() == 0;
    case Neutral::kOne: return value.is_number() && value.as_double() == 1;
    case Neutral::kEmpty: return value.is_array() ? value.items().empty() : value.is_object() && value.members().empty();
    case Neutral::kSilu: return value.is_string() && (value.as_string() == "silu" || value.as_string() == "swish");
    case Neutral::kContext: return false;
  }
  return false;
}

bool is_neutral(const GgufValue& value, std::string_view key, Neutral neutral, int32_t context) {
  if (neutral == Neutral::kContext)
    return value.is_integer() && (value.as_int64(key) == 0 || value.as_int64(key) >= int64_t{context});
  const double expected = neutral == Neutral::kOne ? 1 : 0;
  if (value.is_bool()) return value.as_bool(key) == (expected != 0);
  if (value.is_number()) return value.as_double(key) == expected;
  return false;
}

const char* neutral_text(Neutral neutral) {
  switch (neutral) {
    case Neutral::kNull: return "null";
    case Neutral::kFalse: return "false";
    case Neutral::kZero: return "0";
    case Neutral::kOne: return "1";
    case Neutral::kEmpty: return "an empty value";
    case Neutral::kSilu: return "silu";
    case Neutral::kContext: return "0, or the context's length,";
  }
  return "";
}

template <class Settings>
const Setting* find_setting(const Settings& settings, std::string_view key) {
  const auto found = std::find_if(std::begin(settings), std::end(settings), [&](const Setting& one) { return one.key == key; });
  return found == std::end(settings) ? nullptr : &*found;
}

[[noreturn]] void unsupported(const std::string& expected, std::string_view key, const std::string& architecture) {
  throw Error(ErrorCode::kModelUnsupported, "Expected " + expected + " for " + quote_text(key) + ", received another value: a " +
                                                architecture + " model is not computed with it. Use a model without it.");
}

void check_config(const ModelFile& file) {
  for (const Json::Member& member : file.config()->members("config.json")) {
    if (file.was_read(member.key)) continue;
    const Setting* setting = find_setting(kOtherSettings, member.key);
    if (setting != nullptr && !is_neutral(member.value, setting->neutral))
      unsupported(neutral_text(setting->neutral), member.key, file.architecture());
  }
}

// Version 2 of the block formats is what GGUF began with.
void check_general(const GgufFile& gguf) {
  if (const GgufValue* version = gguf.find_value("general.quantization_version");
      version != nullptr && version->as_int64("general.quantization_version") != 2)
    throw Error(ErrorCode::kModelUnsupported,
                "Expected 2 for general.quantization_version, received " +
                    std::to_string(version->as_int64("general.quantization_version")) + ". Convert the model again.");
  if (const GgufValue* type = gguf.find_value("general.type"); type != nullptr && type->as_string("general.type") != "model")
    throw Error(ErrorCode::kModelUnsupported,
                "Expected model for general.type, received " + quote_text(type->as_string("general.type")) + ". Pass a model's file.");
}

void check_gguf(const ModelFile& file) {
  check_general(*file.gguf());
  const std::string prefix = file.architecture() + ".";
  const int32_t context = file.get_int("", "context_length", 1, 1 << 24);
  for (const GgufMember& member : file.gguf()->members()) {
    if (!member.key.starts_with(prefix) || file.was_read(member.key)) continue;
    const std::string_view key = std::string_view(member.key).substr(prefix.size());
    if (std::find(std::begin(kGgufMeaningless), std::end(kGgufMeaningless), key) != std::end(kGgufMeaningless)) continue;
    const Setting* setting = find_setting(kGgufSettings, key);
    if (setting == nullptr) unsupported("no value", member.key, file.architecture());
    if (is_neutral(member.value, member.key, setting->neutral, context)) continue;
    const bool must_be_true = setting->neutral == Neutral::kOne && member.value.is_bool();
    unsupported(must_be_true ? "true" : neutral_text(setting->neutral), member.key, file.architecture());
  }
}

}  // namespace

void check_unread_keys(const ModelFile& file) {
  if (file.is_gguf())
    check_gguf(file);
  else
    check_config(file);
}

}  // namespace lowrank
