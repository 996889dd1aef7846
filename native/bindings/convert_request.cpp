// Requests, events and engine options: see NativeRequest, NativeEvent and LoadOptions in lib/native/types.ts.
#include <algorithm>
#include <limits>

#include "bindings/convert.h"
#include "bindings/values.h"
#include "engine/prompt_lookup.h"
#include "engine/token_choices.h"

namespace lowrank::bindings {
namespace {

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

}  // namespace

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

}  // namespace lowrank::bindings
