// The addon's functions: see NativeAddon in lib/native/types.ts.
#include <napi.h>

#include "bindings/convert.h"
#include "bindings/devices.h"
#include "bindings/engine_binding.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "core/error.h"
#include "lora/adapter_source.h"

namespace lowrank::bindings {
namespace {

Napi::Value set_error_class(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

// A list of them is made on the event loop: at 16384, in 20 ms.
void check_tensor_count(const TensorSource& source) {
  constexpr size_t kMaxTensors = 16384;
  if (source.tensors().size() > kMaxTensors)
    throw Error(ErrorCode::kAdapterFormat, "Expected at most " + std::to_string(kMaxTensors) + " tensors in the adapter, received " +
                                               std::to_string(source.tensors().size()) + ".");
}

Napi::Value inspect_adapter(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto bytes = bytes_of(info[0]);
    const auto owner = Environment::of(info.Env()).keep(Napi::Persistent(info[0].As<Napi::Object>()));
    return run_async<std::unique_ptr<TensorSource>>(
        info.Env(),
        [bytes, owner] {
          auto source = open_adapter(bytes, owner);
          check_tensor_count(*source);
          return source;
        },
        [](Napi::Env env, std::unique_ptr<TensorSource>&& source) -> Napi::Value {
          const auto* gguf = dynamic_cast<const GgufFile*>(source.get());
          auto inspection = Napi::Object::New(env);
          inspection.Set("format", gguf != nullptr ? "gguf" : "safetensors");
          inspection.Set("tensors", tensors_array(env, *source));
          inspection.Set("metadata", gguf != nullptr ? gguf_object(env, *gguf) : Napi::Object::New(env));
          return inspection;
        });
  });
}

Napi::Value read_gguf_metadata(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string path = info[0].As<Napi::String>().Utf8Value();
    return run_async<std::unique_ptr<GgufFile>>(
        info.Env(), [path] { return GgufFile::open_model(path); },
        [](Napi::Env env, std::unique_ptr<GgufFile>&& file) -> Napi::Value { return gguf_object(env, *file); });
  });
}

Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  auto array = Napi::Array::New(info.Env());
  for (const InstructionSet& set : cpu_instruction_sets()) {
    auto object = Napi::Object::New(info.Env());
    object.Set("name", set.name);
    object.Set("description", set.description);
    object.Set("available", set.available);
    array.Set(array.Length(), object);
  }
  return array;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData<Environment>(new Environment(env));
  EngineBinding::define(env);
  exports.Set("setErrorClass", Napi::Function::New<set_error_class>(env, "setErrorClass"));
  exports.Set("loadEngine", Napi::Function::New<EngineBinding::load>(env, "loadEngine"));
  exports.Set("inspectAdapter", Napi::Function::New<inspect_adapter>(env, "inspectAdapter"));
  exports.Set("readGgufMetadata", Napi::Function::New<read_gguf_metadata>(env, "readGgufMetadata"));
  exports.Set("instructionSets", Napi::Function::New<instruction_sets>(env, "instructionSets"));
  exports.Set("cudaDevices", Napi::Function::New<cuda_devices_of>(env, "cudaDevices"));
  exports.Set("selectDevice", Napi::Function::New<select_device>(env, "selectDevice"));
  return exports;
}

NODE_API_MODULE(lowrank, initialize)

}  // namespace
}  // namespace lowrank::bindings
