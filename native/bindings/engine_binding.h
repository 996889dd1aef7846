// The JavaScript class Engine: see NativeEngine in lib/native/types.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "bindings/convert.h"
#include "bindings/environment.h"
#include "engine/engine.h"
#include "lora/adapter_source.h"

namespace lowrank::bindings {

class EngineBinding : public Napi::ObjectWrap<EngineBinding> {
 public:
  static void define(Napi::Env env);
  // loadEngine(options, onEvents, onProgress)
  static Napi::Value load(const Napi::CallbackInfo& info);

  explicit EngineBinding(const Napi::CallbackInfo& info);
  ~EngineBinding() override;

  // Ends all requests and the engine's thread. Environment's thread.
  void shut_down();

 private:
  Napi::Value facts(const Napi::CallbackInfo& info);
  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value load_adapter(const Napi::CallbackInfo& info);
  Napi::Value release_adapter(const Napi::CallbackInfo& info);
  Napi::Value open_comparison(const Napi::CallbackInfo& info);
  Napi::Value compare_logits(const Napi::CallbackInfo& info);
  Napi::Value close_comparison(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value statistics(const Napi::CallbackInfo& info);
  Napi::Value checksum(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  const std::shared_ptr<Engine>& engine() const;  // throws Error(kDisposed)

  Environment* environment_;
  std::shared_ptr<Engine> engine_;
  AdapterMap adapters_;
  ComparisonMap comparisons_;
  const std::shared_ptr<PreviousAnswers> previous_answers_ = std::make_shared<PreviousAnswers>();
  int32_t next_adapter_ = 1;
  int32_t next_comparison_ = 1;
  uint64_t next_request_ = 1;
};

}  // namespace lowrank::bindings
