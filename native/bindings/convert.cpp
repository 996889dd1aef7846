#include "bindings/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "engine/prompt_lookup.h"
#include "engine/token_choices.h"

namespace lowrank::bindings {
namespace {

[[noreturn]] void invalid(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

template <class T>
std::vector<T> typed_array(const Napi::Value& value, const char* name, napi_typedarray_type type) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    invalid(std::string("Expected a typed array for ") + name + ".");
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<int32_t> int32_array(const Napi::Object& object, const char* key) {
  return typed_array<int32_t>(object.Get(key), key, napi_int32_array);
}

void check_tokens(const std::vector<int32_t>& tokens, const char* key, int32_t vocabulary) {
  for (const int32_t token : tokens)
    if (token < 0 || token >= vocabulary)
      invalid("Expected token ids from 0 to " + std::to_string(vocabulary - 1) + " for " + key + ", received " +
              std::to_string(token) + ".");
}

SamplingOptions sampling_of(const Napi::Object& object, int32_t vocabulary) {
  constexpr double kHuge = 1e30;
  SamplingOptions sampling;
  sampling.temperature = static_cast<float>(number_of(object, "temperature", 0, 1e4));
  sampling.top_k = static_cast<int32_t>(integer_of(object, "topK", 0, INT32_MAX));
  sampling.top_p = static_cast<float>(number_of(object, "topP", 0, 1));
  sampling.min_p = static_cast<float>(number_of(object, "minP", 0, 1));
  sampling.repetition_penalty = static_cast<float>(number_of(object, "repetitionPenalty", 1e-6, kHuge));
  sampling.presence_penalty = static_cast<float>(number_of(object, "presencePenalty", -kHuge, kHuge));
  sampling.frequency_penalty = static_cast<float>(number_of(object, "frequencyPenalty", -kHuge, kHuge));
  const auto ids = int32_array(object, "logitBiasIds");
  const auto biases = typed_array<float>(object.Get("logitBiasValues"), "logitBiasValues", napi_float32_array);
  if (ids.size() != biases.size()) invalid("Expected as many logit biases as token ids.");
  check_tokens(ids, "logitBias", vocabulary);
  for (size_t i = 0; i < ids.size(); ++i) sampling.logit_bias.emplace_back(ids[i], biases[i]);
  const Napi::Value seed = object.Get("seed");
  if (!seed.IsBigInt()) invalid("Expected a BigInt for seed.");
  bool lossless = false;
  sampling.seed = seed.As<Napi::BigInt>().Uint64Value(&lossless);
  return sampling;
}

std::vector<RequestAdapter> adapters_of(const Napi::Object& object, const AdapterMap& loaded) {
  std::vector<RequestAdapter> adapters;
  const auto list = object.Get("adapters").As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto item = list.Get(i).As<Napi::Object>();
    const auto found = loaded.find(static_cast<int32_t>(integer_of(item, "id", 0, INT32_MAX)));
    if (found == loaded.end()) throw Error(ErrorCode::kAdapterNotFound, "Expected the id of a loaded adapter.");
    const auto from = static_cast<int32_t>(integer_of(item, "fromPosition", 0, INT32_MAX));
    const auto to = static_cast<int32_t>(integer_of(item, "toPosition", from, INT32_MAX));
    adapters.push_back({found->second, static_cast<float>(number_of(item, "scale", -1e6, 1e6)), from, to});
  }
  return adapters;
}

struct NamedProjection {
  const char* name;
  Projection projection;
};
constexpr NamedProjection kProjectionNames[] = {{"q_proj", Projection::kQ},       {"k_proj", Projection::kK},
                                                {"v_proj", Projection::kV},       {"o_proj", Projection::kO},
                                                {"gate_proj", Projection::kGate}, {"up_proj", Projection::kUp},
                                                {"down_proj", Projection::kDown}};
constexpr const char* kLayerNormNames[kLayerNorms] = {"input_layernorm",           "post_attention_layernorm",
                                                      "pre_feedforward_layernorm", "post_feedforward_layernorm",
                                                      "q_norm",                    "k_norm"};

void set_place(AdapterEntry& entry, const std::string& module) {
  for (const NamedProjection& one : kProjectionNames) {
    if (module != one.name) continue;
    entry.place = AdapterEntry::Place::kProjection;
    entry.projection = one.projection;
    return;
  }
  for (int norm = 0; norm < kLayerNorms; ++norm) {
    if (module != kLayerNormNames[norm]) continue;
    entry.place = AdapterEntry::Place::kLayerNorm;
    entry.norm = static_cast<LayerNorm>(norm);
    return;
  }
  if (module == "norm")
    entry.place = AdapterEntry::Place::kFinalNorm;
  else if (module == "lm_head")
    entry.place = AdapterEntry::Place::kLmHead;
  else if (module == "embed_tokens")
    entry.place = AdapterEntry::Place::kEmbedTokens;
  else
    invalid("Expected the name of a module, received " + module + ".");
}

AdapterEntry::Role role_of(const std::string& name) {
  using Role = AdapterEntry::Role;
  if (name == "lora_A") return Role::kLoraA;
  if (name == "lora_B") return Role::kLoraB;
  if (name == "lora_magnitude_vector") return Role::kMagnitude;
  if (name == "lora_B.bias") return Role::kLoraBBias;
  if (name == "bias") return Role::kBias;
  if (name == "weight") return Role::kWeight;
  if (name == "base_layer.weight") return Role::kBaseWeight;
  if (name == "token_rows") return Role::kTokenRows;
  if (name == "copy") return Role::kCopy;
  if (name == "lora_embedding_A") return Role::kEmbeddingA;
  if (name == "lora_embedding_B") return Role::kEmbeddingB;
  invalid("Expected the role of an adapter's tensor, received " + name + ".");
}

// Null where any tokens may be drawn.
std::unique_ptr<TokenConstraint> constraint_of(const Napi::Object& object, const std::vector<int32_t>& end_tokens, int32_t vocabulary) {
  const Napi::Value value = object.Get("choices");
  if (value.IsUndefined()) return nullptr;
  if (!value.IsArray()) invalid("Expected an array for choices.");
  const auto array = value.As<Napi::Array>();
  if (array.Length() > TokenChoices::kMaxChoices)
    invalid("Expected at most " + std::to_string(TokenChoices::kMaxChoices) + " choices, received " + std::to_string(array.Length()) + ".");
  std::vector<std::vector<int32_t>> choices;
  for (uint32_t i = 0; i < array.Length(); ++i) choices.push_back(typed_array<int32_t>(array.Get(i), "choices", napi_int32_array));
  return std::make_unique<TokenChoices>(std::move(choices), end_tokens, vocabulary);
}

void set_comparison(Request& request, const Napi::Object& object, const ComparisonMap& comparisons) {
  const auto found = comparisons.find(static_cast<int32_t>(integer_of(object, "comparison", 0, INT32_MAX)));
  if (found == comparisons.end()) invalid("Expected the id of an open comparison.");
  request.comparison = found->second;
  request.variant = static_cast<int32_t>(integer_of(object, "variant", 0, request.comparison->variants() - 1));
  if (request.to - request.from > request.comparison->rows())
    invalid("Expected at most " + std::to_string(request.comparison->rows()) + " positions.");
  request.comparison->restart(request.variant);
}

template <class T>
Napi::Value typed(Napi::Env env, const std::vector<T>& values) {
  auto array = Napi::TypedArrayOf<T>::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kStop: return "stop";
    case Finish::kLength: return "length";
    case Finish::kAborted: return "aborted";
    case Finish::kComplete: return "complete";
    case Finish::kError: return "error";
    case Finish::kNone: break;
  }
  return "";
}

// Text of a file nobody vouches for may be no UTF-8; N-API then gives U+FFFD.
Napi::String string_from(Napi::Env env, std::string_view text) { return Napi::String::New(env, text.data(), text.size()); }

Napi::Value gguf_value(Napi::Env env, const std::string& key, const GgufValue& value) {
  const bool floats = value.element_type() == GgufType::kFloat32 || value.element_type() == GgufType::kFloat64;
  if (!value.is_array()) {
    if (value.is_string()) return string_from(env, value.as_string(key));
    if (value.is_bool()) return Napi::Boolean::New(env, value.as_bool(key));
    return Napi::Number::New(env, floats ? value.as_double(key) : static_cast<double>(value.as_int64(key)));
  }
  const size_t size = value.size();
  if (value.element_type() == GgufType::kString) {
    auto array = Napi::Array::New(env, size);
    for (size_t i = 0; i < size; ++i) {
      Napi::HandleScope scope(env);
      array.Set(static_cast<uint32_t>(i), string_from(env, value.string_at(i, key)));
    }
    return array;
  }
  std::vector<double> numbers(size);
  for (size_t i = 0; i < size; ++i) {
    if (value.element_type() == GgufType::kBool)
      numbers[i] = value.bool_at(i, key) ? 1 : 0;
    else
      numbers[i] = floats ? value.double_at(i, key) : static_cast<double>(value.int64_at(i, key));
  }
  return typed(env, numbers);
}

}  // namespace

std::string string_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) invalid(std::string("Expected a string for ") + key + ".");
  return value.As<Napi::String>().Utf8Value();
}

double number_of(const Napi::Object& object, const char* key, double min, double max) {
  const Napi::Value value = object.Get(key);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= min && number <= max))
    invalid(std::string("Expected a number from ") + std::to_string(min) + " to " + std::to_string(max) + " for " + key + ".");
  return number;
}

int64_t integer_of(const Napi::Object& object, const char* key, int64_t min, int64_t max) {
  const double number = number_of(object, key, static_cast<double>(min), static_cast<double>(max));
  if (number != std::floor(number)) invalid(std::string("Expected an integer for ") + key + ".");
  return static_cast<int64_t>(number);
}

Precision precision_of(const std::string& name) {
  if (name == "int8") return Precision::kInt8;
  if (name == "w8-float32") return Precision::kW8Float32;
  if (name == "float32") return Precision::kFloat32;
  invalid("Expected int8, w8-float32 or float32 for precision, received " + name + ".");
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kInt8: return "int8";
    case Precision::kW8Float32: return "w8-float32";
    case Precision::kFloat32: break;
  }
  return "float32";
}

const char* kv_format_name(KvFormat format) {
  switch (format) {
    case KvFormat::kBFloat16: return "bfloat16";
    case KvFormat::kFloat32: return "float32";
    case KvFormat::kInt8: return "int8";
  }
  return "";
}

const char* lora_dtype_name(LoraDType dtype) {
  switch (dtype) {
    case LoraDType::kBFloat16: return "bfloat16";
    case LoraDType::kFloat32: return "float32";
    case LoraDType::kInt8: return "int8";
  }
  return "";
}

const char* packed_state_name(PackedState state) {
  switch (state) {
    case PackedState::kNone: return "none";
    case PackedState::kRestored: return "restored";
    case PackedState::kWritten: return "written";
  }
  return "";
}

const char* layer_norm_name(LayerNorm norm) { return kLayerNormNames[static_cast<size_t>(norm)]; }

EngineOptions engine_options_of(const Napi::Object& object) {
  EngineOptions options;
  options.threads = static_cast<int>(integer_of(object, "threads", 0, 256));
  options.context_length = static_cast<int32_t>(integer_of(object, "contextLength", 0, 1 << 24));
  options.max_sequences = static_cast<int32_t>(integer_of(object, "maxSequences", 1, 1024));
  options.max_waiting = static_cast<int32_t>(integer_of(object, "maxQueue", 0, 1 << 20));
  options.max_rows = static_cast<int32_t>(integer_of(object, "maxStepTokens", 1, 1 << 14));
  options.kv_cache_bytes = static_cast<size_t>(number_of(object, "kvCacheMemory", 0, 1e15));
  if (object.Get("int8KvCache").ToBoolean().Value()) options.kv_format = KvFormat::kInt8;
  return options;
}

Request request_of(const Napi::Object& object, const RequestContext& context) {
  const auto& [config, context_length, adapters, comparisons, previous_answers] = context;
  Request request;
  const std::string kind = string_of(object, "kind");
  request.kind = kind == "generate" ? Request::Kind::kGenerate
                 : kind == "score"  ? Request::Kind::kScore
                 : kind == "logits" ? Request::Kind::kLogits
                                    : (invalid("Expected generate, score or logits for kind."), Request::Kind::kLogits);
  request.tokens = int32_array(object, "tokens");
  if (request.tokens.empty()) invalid("Expected at least one token.");
  const bool generate = request.kind == Request::Kind::kGenerate;
  const size_t max_tokens = static_cast<size_t>(context_length) - (generate ? 1 : 0);
  if (request.tokens.size() > max_tokens)
    throw Error(ErrorCode::kContextLength, "Expected at most " + std::to_string(max_tokens) + " tokens in a context of " +
                                               std::to_string(context_length) + ", received " +
                                               std::to_string(request.tokens.size()) +
                                               ". Shorten the prompt or load the model with a larger contextLength.");
  check_tokens(request.tokens, "tokens", config.vocabulary_size);
  request.adapters = adapters_of(object, adapters);
  request.priority = static_cast<int32_t>(integer_of(object, "priority", -1000, 1000));
  request.timeout_ms = number_of(object, "timeoutMs", 0, INT32_MAX);
  request.prefix_cache = object.Get("prefixCache").ToBoolean().Value();
  request.cache_salt = string_of(object, "cacheSalt");
  if (request.kind != Request::Kind::kLogits)
    request.top_logprobs = static_cast<int32_t>(
        integer_of(object, "topLogprobs", -1, std::min(config.vocabulary_size, kMaxLogitCandidates)));
  if (generate) {
    request.max_tokens = static_cast<int32_t>(integer_of(object, "maxTokens", 1, INT32_MAX));
    request.stop_tokens = int32_array(object, "stopTokens");
    request.sampling = sampling_of(object.Get("sampling").As<Napi::Object>(), config.vocabulary_size);
    request.constraint = constraint_of(object, request.stop_tokens, config.vocabulary_size);
    request.max_draft_tokens = static_cast<int32_t>(integer_of(object, "maxDraftTokens", 0, kMaxDraftTokens));
    if (request.max_draft_tokens > 0) request.drafter = prompt_lookup_drafter(previous_answers, request);
  } else {
    const auto size = static_cast<int64_t>(request.tokens.size());
    request.from = static_cast<int32_t>(integer_of(object, "from", 0, size - 1));
    request.to = static_cast<int32_t>(integer_of(object, "to", request.from + 1, size));
    if (request.kind == Request::Kind::kLogits && !object.Get("comparison").IsUndefined())
      set_comparison(request, object, comparisons);
  }
  return request;
}

std::vector<int32_t> compared_tokens_of(const Napi::Value& value, const LogitComparison& comparison, int32_t vocabulary) {
  auto tokens = typed_array<int32_t>(value, "tokens", napi_int32_array);
  if (tokens.size() > static_cast<size_t>(comparison.rows()))
    invalid("Expected at most " + std::to_string(comparison.rows()) + " tokens, received " + std::to_string(tokens.size()) + ".");
  check_tokens(tokens, "tokens", vocabulary);
  return tokens;
}

std::vector<int32_t> calibration_ids_of(const Napi::Value& value) {
  constexpr size_t kMaxIds = 256;
  auto ids = typed_array<int32_t>(value, "calibration tokens", napi_int32_array);
  if (ids.size() > kMaxIds) invalid("Expected at most 256 calibration tokens, received " + std::to_string(ids.size()) + ".");
  check_tokens(ids, "calibration tokens", INT32_MAX);
  return ids;
}

std::vector<AdapterEntry> entries_of(const Napi::Array& array) {
  std::vector<AdapterEntry> entries;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto item = array.Get(i).As<Napi::Object>();
    AdapterEntry entry;
    entry.tensor = string_of(item, "tensor");
    entry.role = role_of(string_of(item, "role"));
    set_place(entry, string_of(item, "module"));
    entry.layer = static_cast<int32_t>(integer_of(item, "layer", -1, INT32_MAX));
    const auto has = [&](const char* key) { return !item.Get(key).IsUndefined(); };
    if (has("scaling")) entry.scaling = static_cast<float>(number_of(item, "scaling", -1e9, 1e9));
    if (has("rowBegin")) entry.row_begin = static_cast<int32_t>(integer_of(item, "rowBegin", 0, INT32_MAX));
    if (has("rowCount")) entry.row_count = static_cast<int32_t>(integer_of(item, "rowCount", 0, INT32_MAX));
    if (has("unpermuteHeads")) entry.unpermute_heads = static_cast<int32_t>(integer_of(item, "unpermuteHeads", 0, 65536));
    entry.transpose = has("transpose") && item.Get("transpose").ToBoolean().Value();
    entry.must_hold_base = has("mustHoldBase") && item.Get("mustHoldBase").ToBoolean().Value();
    if (has("tokenRows")) entry.token_rows = int32_array(item, "tokenRows");
    if (has("copyOf")) entry.copy_of = string_of(item, "copyOf");
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::span<const uint8_t> bytes_of(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    invalid("Expected a Uint8Array for bytes.");
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ElementLength()};
}

Napi::Object differences_object(Napi::Env env, const LogitDifferences& differences) {
  auto object = Napi::Object::New(env);
  object.Set("divergences", typed(env, differences.divergences));
  object.Set("logprobs", typed(env, differences.logprobs));
  object.Set("mostLikely", typed(env, differences.most_likely));
  return object;
}

Napi::Object event_object(Napi::Env env, const Event& event) {
  auto object = Napi::Object::New(env);
  object.Set("request", Napi::Number::New(env, static_cast<double>(event.request)));
  if (!event.tokens.empty()) object.Set("tokens", typed(env, event.tokens));
  if (!event.logprobs.empty()) {
    object.Set("logprobs", typed(env, event.logprobs));
    object.Set("entropies", typed(env, event.entropies));
    object.Set("logsumexps", typed(env, event.logsumexps));
    object.Set("topIds", typed(env, event.top_ids));
    object.Set("topLogprobs", typed(env, event.top_logprobs));
  }
  if (!event.logits.empty()) object.Set("logits", typed(env, event.logits));
  if (event.finish == Finish::kNone) return object;
  object.Set("finish", Napi::String::New(env, finish_name(event.finish)));
  if (event.finish == Finish::kError) {
    auto error = Napi::Object::New(env);
    error.Set("code", Napi::String::New(env, error_code_name(event.error_code)));
    error.Set("message", Napi::String::New(env, event.error_message));
    object.Set("error", error);
  }
  auto timings = Napi::Object::New(env);
  timings.Set("queuedMs", event.timings.queued_ms);
  timings.Set("prefillMs", event.timings.prefill_ms);
  timings.Set("decodeMs", event.timings.decode_ms);
  timings.Set("promptTokens", event.timings.prompt_tokens);
  timings.Set("generatedTokens", event.timings.generated_tokens);
  timings.Set("draftedTokens", event.timings.drafted_tokens);
  timings.Set("acceptedTokens", event.timings.accepted_tokens);
  timings.Set("cachedTokens", event.timings.cached_tokens);
  timings.Set("preemptions", event.timings.preemptions);
  object.Set("timings", timings);
  return object;
}

Napi::Array tensors_array(Napi::Env env, const TensorSource& source) {
  const auto& tensors = source.tensors();
  auto array = Napi::Array::New(env, tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    auto tensor = Napi::Object::New(env);
    tensor.Set("name", string_from(env, tensors[i].name));
    tensor.Set("dtype", Napi::String::New(env, dtype_facts(tensors[i].dtype).name));
    auto shape = Napi::Array::New(env, tensors[i].shape.size());
    for (size_t axis = 0; axis < tensors[i].shape.size(); ++axis)
      shape.Set(static_cast<uint32_t>(axis), Napi::Number::New(env, static_cast<double>(tensors[i].shape[axis])));
    tensor.Set("shape", shape);
    array.Set(static_cast<uint32_t>(i), tensor);
  }
  return array;
}

Napi::Object gguf_object(Napi::Env env, const GgufFile& file) {
  auto object = Napi::Object::New(env);
  for (const GgufMember& member : file.members()) {
    // defineProperty, not assignment: a key named __proto__ must stay a key.
    object.DefineProperty(Napi::PropertyDescriptor::Value(string_from(env, member.key), gguf_value(env, member.key, member.value),
                                                          static_cast<napi_property_attributes>(napi_enumerable)));
  }
  return object;
}

}  // namespace lowrank::bindings
