#include "bindings/devices.h"

#include <algorithm>
#include <vector>

#include "backend/devices.h"
#include "bindings/environment.h"
#include "bindings/errors.h"
#include "bindings/run_async.h"
#include "bindings/weight_schemes.h"
#include "model/packed_weights.h"

namespace lowrank::bindings {
namespace {

std::string device_id(int32_t cuda_index) { return cuda_index < 0 ? "cpu" : "cuda:" + std::to_string(cuda_index); }

}  // namespace

Napi::Value cuda_devices_of(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string plugin = info[0].As<Napi::String>().Utf8Value();
    return run_async<std::vector<CudaDevice>>(
        info.Env(), [plugin] { return cuda_devices(plugin); },
        [](Napi::Env env, std::vector<CudaDevice>&& devices) -> Napi::Value {
          auto array = Napi::Array::New(env, devices.size());
          for (size_t i = 0; i < devices.size(); ++i) {
            const CudaDevice& device = devices[i];
            auto object = Napi::Object::New(env);
            object.Set("index", device.index);
            object.Set("name", device.name);
            object.Set("memoryBytes", static_cast<double>(device.memory_bytes));
            object.Set("computeMajor", device.compute_major);
            object.Set("computeMinor", device.compute_minor);
            object.Set("emulated", device.emulated);
            object.Set("unavailable", device.unavailable);
            array.Set(static_cast<uint32_t>(i), object);
          }
          return array;
        });
  });
}

Napi::Value select_device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string device = info[0].As<Napi::String>().Utf8Value();
    const std::string plugin = info[1].As<Napi::String>().Utf8Value();
    return run_async<SelectedBackend>(
        info.Env(), [device, plugin] { return select_backend(device, plugin); },
        [](Napi::Env env, SelectedBackend&& selected) -> Napi::Value {
          auto object = Napi::Object::New(env);
          object.Set("id", device_id(selected.cuda_index));
          object.Set("instructionSet", selected.backend->instruction_set());
          object.Set("packedWeightsId", packed_weights_id(*selected.backend, schemes_of(Precision::kInt8)));
          object.Set("fallback", selected.fallback);
          return object;
        });
  });
}

}  // namespace lowrank::bindings
