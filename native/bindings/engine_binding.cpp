#include "bindings/engine_binding.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "backend/devices.h"
#include "bindings/decoder_names.h"
#include "bindings/devices.h"
#include "bindings/errors.h"
#include "bindings/load_control.h"
#include "bindings/values.h"
#include "bindings/weight_schemes.h"

namespace lowrank::bindings {
namespace {

// Between two progress events of a load.
constexpr auto kProgressInterval = std::chrono::milliseconds(30);

struct LoadOptions {
  std::string path;
  std::string device;
  std::string plugin;
  Precision precision;
  EngineOptions engine;
  bool share_weights;
  size_t device_adapter_bytes;  // 0: as it is
};

LoadOptions load_options_of(const Napi::Object& object) {
  LoadOptions options;
  options.path = string_of(object, "path");
  options.device = string_of(object, "device");
  options.plugin = string_of(object, "plugin");
  options.precision = precision_of(string_of(object, "precision"));
  options.engine = engine_options_of(object);
  options.share_weights = object.Get("shareWeights").ToBoolean().Value();
  options.device_adapter_bytes = static_cast<size_t>(number_of(object, "deviceAdapterBytes", 0, 0x1p53));
  if (options.engine.kv_format == KvFormat::kInt8 && options.precision != Precision::kInt8)
    throw Error(ErrorCode::kInvalidArgument, "Expected int8 precision for an int8 KV cache.");
  return options;
}

// Calls a JavaScript function from any thread.
class Callback {
 public:
  Callback(Environment& environment, const Napi::Function& function)
      : environment_(&environment), function_(environment.keep(Napi::Persistent(function))) {}
  void post(std::function<void(Napi::Env, const Napi::FunctionReference&)> call) const {
    environment_->post([function = function_, call = std::move(call)](Napi::Env env) { call(env, *function); });
  }

 private:
  Environment* environment_;
  std::shared_ptr<Napi::FunctionReference> function_;
};

std::unique_ptr<Model> load_model(const LoadOptions& options, const Callback& on_progress, LoadControl& control) {
  auto last = std::chrono::steady_clock::now() - kProgressInterval;
  WeightsOptions weights;
  weights.precision = options.precision;
  weights.schemes = schemes_of(options.precision);
  weights.threads = options.engine.threads != 0 ? options.engine.threads : ThreadPool::default_threads();
  weights.share_packed = options.share_weights;
  weights.packed_path = [&] { return control.wait_for_packed_path(); };
  weights.calibration_ids = [&] { return control.wait_for_calibration(); };
  weights.progress = [&](int64_t done, int64_t total) {
    control.throw_if_stopped();
    const auto now = std::chrono::steady_clock::now();
    if (now - last < kProgressInterval && done < total) return;
    last = now;
    on_progress.post([done, total](Napi::Env env, const Napi::FunctionReference& function) {
      function.Call({Napi::Number::New(env, static_cast<double>(done)), Napi::Number::New(env, static_cast<double>(total))});
    });
  };
  const Backend& backend = *select_backend(options.device, options.plugin).backend;
  if (options.device_adapter_bytes != 0 && !backend.shares_host_memory())
    set_adapter_memory(backend, options.device_adapter_bytes);
  return Model::load(options.path, backend, weights);
}

// Request ids hold the environment from submit to their last event.
Engine::Sink sink_to(Environment& environment, const Callback& on_events) {
  return [&environment, on_events](std::vector<Event>&& events) {
    on_events.post([&environment, events = std::make_shared<std::vector<Event>>(std::move(events))](
                       Napi::Env env, const Napi::FunctionReference& function) {
      auto array = Napi::Array::New(env, events->size());
      for (size_t i = 0; i < events->size(); ++i) {
        array.Set(static_cast<uint32_t>(i), event_object(env, (*events)[i]));
        if ((*events)[i].finish != Finish::kNone) environment.release();
      }
      function.Call({array});
    });
  };
}

}  // namespace

void EngineBinding::define(Napi::Env env) {
  const Napi::Function constructor =
      DefineClass(env, "Engine",
                  {InstanceAccessor<&EngineBinding::facts>("facts"), InstanceMethod<&EngineBinding::submit>("submit"),
                   InstanceMethod<&EngineBinding::cancel>("cancel"), InstanceMethod<&EngineBinding::load_adapter>("loadAdapter"),
                   InstanceMethod<&EngineBinding::release_adapter>("releaseAdapter"),
                   InstanceMethod<&EngineBinding::open_comparison>("openComparison"),
                   InstanceMethod<&EngineBinding::compare_logits>("compareLogits"),
                   InstanceMethod<&EngineBinding::close_comparison>("closeComparison"),
                   InstanceMethod<&EngineBinding::memory>("memory"), InstanceMethod<&EngineBinding::statistics>("statistics"),
                   InstanceMethod<&EngineBinding::checksum>("checksum"),
                   InstanceMethod<&EngineBinding::dispose>("dispose")});
  Environment::of(env).engine_class = Napi::Persistent(constructor);
}

Napi::Value EngineBinding::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Environment& environment = Environment::of(env);
    const LoadOptions options = load_options_of(info[0].As<Napi::Object>());
    const Callback on_events(environment, info[1].As<Napi::Function>());
    const Callback on_progress(environment, info[2].As<Napi::Function>());
    const auto control = std::make_shared<LoadControl>(environment.ending_flag());

    const Napi::Promise promise = run_async<std::shared_ptr<Engine>>(
        env,
        [options, on_events, on_progress, control, &environment] {
          return std::make_shared<Engine>(load_model(options, on_progress, *control), options.engine, sink_to(environment, on_events));
        },
        [](Napi::Env task_env, std::shared_ptr<Engine>&& engine) -> Napi::Value {
          return Environment::of(task_env).engine_class.New({Napi::External<std::shared_ptr<Engine>>::New(task_env, &engine)});
        });
    auto handle = Napi::Object::New(env);
    handle.Set("promise", promise);
    handle.Set("cancel", Napi::Function::New(env, [control](const Napi::CallbackInfo&) { control->cancel(); }, "cancel"));
    handle.Set("usePacked", Napi::Function::New(env, [control](const Napi::CallbackInfo& call) {
                 if (call[0].IsString()) control->use_packed(call[0].As<Napi::String>().Utf8Value());
               }, "usePacked"));
    handle.Set("calibrate", Napi::Function::New(env, [control](const Napi::CallbackInfo& call) {
                 guarded(call.Env(), [&]() -> Napi::Value {
                   control->calibrate(calibration_ids_of(call[0]));
                   return call.Env().Undefined();
                 });
               }, "calibrate"));
    return handle;
  });
}

EngineBinding::EngineBinding(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineBinding>(info), environment_(&Environment::of(info.Env())) {
  if (info.Length() != 1 || !info[0].IsExternal())
    throw Napi::TypeError::New(info.Env(), "Illegal constructor: use loadEngine.");
  engine_ = *info[0].As<Napi::External<std::shared_ptr<Engine>>>().Data();
  environment_->engines.insert(this);
}

EngineBinding::~EngineBinding() {
  shut_down();
  if (environment_ != nullptr) environment_->engines.erase(this);
}

void EngineBinding::shut_down() {
  if (engine_ != nullptr) {
    engine_->shut_down();
    engine_.reset();
    adapters_.clear();
    comparisons_.clear();
  }
  // An ending environment is gone before this object is: also where dispose has already taken the engine.
  if (environment_ != nullptr && environment_->ending()) environment_ = nullptr;
}

const std::shared_ptr<Engine>& EngineBinding::engine() const {
  if (engine_ == nullptr) throw Error(ErrorCode::kDisposed, "The model was disposed. Load it again to use it.");
  return engine_;
}

Napi::Value EngineBinding::facts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const Engine& engine = *this->engine();
    const Model& model = engine.model();
    const ModelConfig& config = model.config();
    auto facts = Napi::Object::New(env);
    facts.Set("architecture", config.architecture);
    facts.Set("hiddenSize", config.hidden_size);
    facts.Set("intermediateSize", config.intermediate_size);
    facts.Set("layers", config.layer_count);
    facts.Set("heads", config.heads);
    facts.Set("kvHeads", config.kv_heads);
    facts.Set("headDim", config.head_dim);
    facts.Set("vocabularySize", config.vocabulary_size);
    facts.Set("contextLength", engine.options().context_length);
    facts.Set("trainedContextLength", config.trained_context);
    facts.Set("maxSequences", engine.options().max_sequences);
    facts.Set("tiedEmbeddings", config.tied_embeddings);
    set_anatomy(facts, config);
    facts.Set("parameters", static_cast<double>(model.weights().parameters));
    facts.Set("precision", precision_name(model.precision()));
    facts.Set("backend", model.backend().name());
    facts.Set("instructionSet", model.backend().instruction_set());
    facts.Set("threads", engine.options().threads);
    const auto& ignored = model.ignored_tensors();
    auto names = Napi::Array::New(env, ignored.size());
    for (size_t i = 0; i < ignored.size(); ++i) names.Set(static_cast<uint32_t>(i), ignored[i]);
    facts.Set("ignoredTensors", names);
    facts.Set("packedWeights", packed_state_name(model.weights().packed));
    facts.Set("sharedWeights", model.weights().shared);
    facts.Set("weightBytes", static_cast<double>(model.weights().bytes));
    facts.Set("kvCache", kv_format_name(engine.kv_format()));
    facts.Set("kvBytesPerToken", static_cast<double>(engine.kv_bytes_per_token()));
    return facts;
  });
}

Napi::Value EngineBinding::submit(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Engine& engine = *this->engine();
    Request request = request_of(info[0].As<Napi::Object>(), {engine.model().config(), engine.options().context_length, adapters_,
                                                              comparisons_, previous_answers_});
    request.id = next_request_++;
    const auto id = static_cast<double>(request.id);
    engine.submit(std::move(request));
    environment_->hold();
    return Napi::Number::New(info.Env(), id);
  });
}

Napi::Value EngineBinding::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (engine_ != nullptr && info[0].IsNumber())
      engine_->cancel(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
    return info.Env().Undefined();
  });
}

Napi::Value EngineBinding::load_adapter(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto engine = this->engine();
    const auto bytes = bytes_of(info[0]);
    const auto owner = environment_->keep(Napi::Persistent(info[0].As<Napi::Object>()));
    auto entries = std::make_shared<std::vector<AdapterEntry>>(entries_of(info[1].As<Napi::Array>(), engine->model().config().norms));
    const bool int8 = info[2].ToBoolean().Value();
    if (!info[3].IsString()) throw Error(ErrorCode::kInvalidArgument, "Expected a string for prefixCacheKey.");
    const std::string key = info[3].As<Napi::String>().Utf8Value();
    if (int8 && engine->model().precision() != Precision::kInt8)
      throw Error(ErrorCode::kInvalidArgument, "Expected int8 precision of the model for an int8 adapter.");
    const auto self = environment_->keep(Napi::Persistent(info.This().As<Napi::Object>()));
    return run_async<std::shared_ptr<Adapter>>(
        env,
        [engine, bytes, owner, entries, int8, key] {
          const auto source = open_adapter(bytes, owner);
          BaseModel base = engine->model().base(engine->options().threads);
          if (int8) base.lora_dtype = LoraDType::kInt8;
          auto adapter = build_adapter(*source, *entries, base);
          adapter->content = lora_dtype_name(adapter->dtype) + (":" + key);
          return adapter;
        },
        [self](Napi::Env task_env, std::shared_ptr<Adapter>&& adapter) -> Napi::Value {
          EngineBinding& binding = *Unwrap(self->Value());
          binding.engine();
          const int32_t id = binding.next_adapter_++;
          auto result = Napi::Object::New(task_env);
          result.Set("id", id);
          result.Set("bytes", static_cast<double>(adapter->bytes));
          result.Set("maxRank", adapter->max_rank);
          binding.adapters_.emplace(id, std::move(adapter));
          return result;
        });
  });
}

Napi::Value EngineBinding::release_adapter(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) adapters_.erase(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value EngineBinding::open_comparison(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    constexpr int64_t kMaxLogits = int64_t{1} << 28;  // 1 GiB
    const int32_t vocabulary = this->engine()->model().config().vocabulary_size;
    const auto shape = info[0].As<Napi::Object>();
    const auto variants = static_cast<int32_t>(integer_of(shape, "variants", 1, 1024));
    const int64_t max_rows = std::max<int64_t>(1, kMaxLogits / variants / vocabulary);
    const auto rows = static_cast<int32_t>(integer_of(shape, "rows", 1, max_rows));
    const int32_t id = next_comparison_++;
    comparisons_.emplace(id, std::make_shared<LogitComparison>(variants, rows, vocabulary));
    return Napi::Number::New(info.Env(), id);
  });
}

Napi::Value EngineBinding::compare_logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int32_t vocabulary = this->engine()->model().config().vocabulary_size;
    const auto asked = info[0].As<Napi::Object>();
    const auto found = comparisons_.find(static_cast<int32_t>(integer_of(asked, "comparison", 0, INT32_MAX)));
    if (found == comparisons_.end()) throw Error(ErrorCode::kInvalidArgument, "Expected the id of an open comparison.");
    const auto reference = static_cast<int32_t>(integer_of(asked, "reference", 0, found->second->variants() - 1));
    auto tokens = compared_tokens_of(asked.Get("tokens"), *found->second, vocabulary);
    return run_async<LogitDifferences>(
        info.Env(),
        [comparison = found->second, reference, tokens = std::move(tokens)] { return comparison->compare(reference, tokens); },
        [](Napi::Env env, LogitDifferences&& differences) -> Napi::Value { return differences_object(env, differences); });
  });
}

// Off the event loop: the system takes milliseconds to take back so many pages.
Napi::Value EngineBinding::close_comparison(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto found = info[0].IsNumber() ? comparisons_.find(info[0].As<Napi::Number>().Int32Value()) : comparisons_.end();
    const auto closed = std::make_shared<std::shared_ptr<LogitComparison>>();
    if (found != comparisons_.end()) {
      *closed = std::move(found->second);
      comparisons_.erase(found);
    }
    return run_async<bool>(
        info.Env(),
        [closed] {
          closed->reset();
          return true;
        },
        [](Napi::Env env, bool&&) -> Napi::Value { return env.Undefined(); });
  });
}

Napi::Value EngineBinding::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const EngineMemory memory = this->engine()->memory();
    size_t adapters = 0;
    for (const auto& [id, adapter] : adapters_) adapters += adapter->bytes;
    size_t comparisons = 0;
    for (const auto& [id, comparison] : comparisons_) comparisons += comparison->bytes();
    auto object = Napi::Object::New(info.Env());
    object.Set("weightBytes", static_cast<double>(memory.weight_bytes));
    object.Set("kvCacheBytes", static_cast<double>(memory.kv_cache_bytes));
    object.Set("scratchBytes", static_cast<double>(memory.scratch_bytes));
    object.Set("adapterBytes", static_cast<double>(adapters));
    object.Set("comparisonBytes", static_cast<double>(comparisons));
    return object;
  });
}

Napi::Value EngineBinding::statistics(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const EngineStatistics statistics = this->engine()->statistics();
    auto object = Napi::Object::New(info.Env());
    object.Set("steps", static_cast<double>(statistics.steps));
    object.Set("tokens", static_cast<double>(statistics.rows));
    object.Set("preemptions", static_cast<double>(statistics.preemptions));
    object.Set("promptTokens", static_cast<double>(statistics.prompt_tokens));
    object.Set("cachedTokens", static_cast<double>(statistics.cached_tokens));
    object.Set("waiting", static_cast<double>(statistics.waiting));
    object.Set("active", static_cast<double>(statistics.active));
    auto kv = Napi::Object::New(info.Env());
    kv.Set("budgetBytes", static_cast<double>(statistics.kv_budget_bytes));
    kv.Set("usedBytes", static_cast<double>(statistics.kv_used_bytes));
    kv.Set("idleBytes", static_cast<double>(statistics.kv_idle_bytes));
    object.Set("kvCache", kv);
    return object;
  });
}

Napi::Value EngineBinding::checksum(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto engine = this->engine();
    return run_async<uint64_t>(
        info.Env(), [engine] { return engine->model().checksum(); },
        [](Napi::Env env, uint64_t&& sum) -> Napi::Value { return Napi::BigInt::New(env, sum); });
  });
}

Napi::Value EngineBinding::dispose(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto engine = std::make_shared<std::shared_ptr<Engine>>(std::move(engine_));
    engine_.reset();
    adapters_.clear();
    comparisons_.clear();
    return run_async<bool>(
        info.Env(),
        [engine] {
          if (*engine != nullptr) (*engine)->shut_down();
          engine->reset();
          return true;
        },
        [](Napi::Env env, bool&&) -> Napi::Value { return env.Undefined(); });
  });
}

}  // namespace lowrank::bindings
