#include "bindings/decoder_names.h"

#include <string>

namespace lowrank::bindings {
namespace {

Napi::Object named(Napi::Env env, const ModuleName& module) {
  auto object = Napi::Object::New(env);
  object.Set("name", std::string(module.name));
  object.Set("path", std::string(module.path));
  object.Set("gguf", std::string(module.gguf));
  return object;
}

LayerNorms all_norms() {
  LayerNorms norms;
  for (int i = 0; i < kLayerNorms; ++i) norms.set(static_cast<LayerNorm>(i));
  return norms;
}

void push(Napi::Array& array, const Napi::Value& value) { array.Set(array.Length(), value); }

}  // namespace

Napi::Object decoder_names(Napi::Env env) {
  auto projections = Napi::Array::New(env);
  for (int i = 0; i < kProjections; ++i) push(projections, named(env, name_of(static_cast<Projection>(i))));
  auto fused = Napi::Array::New(env);
  for (int i = 0; i < kSites; ++i) {
    const auto site = static_cast<Site>(i);
    if (!fused_name_of(site)) continue;
    auto object = named(env, *fused_name_of(site));
    auto parts = Napi::Array::New(env);
    for (const Projection projection : projections_of(site)) push(parts, Napi::String::New(env, std::string(name_of(projection).name)));
    object.Set("parts", parts);
    push(fused, object);
  }
  // Of norms, what GGUF calls one depends on which others a model has; its adapters have none.
  auto norms = Napi::Array::New(env);
  for (int i = 0; i < kLayerNorms; ++i) {
    const ModuleName& module = name_of(static_cast<LayerNorm>(i), all_norms());
    auto object = Napi::Object::New(env);
    object.Set("name", std::string(module.name));
    object.Set("path", std::string(module.path));
    push(norms, object);
  }
  auto outer = Napi::Array::New(env);
  for (int i = 0; i < kOuterModules; ++i) push(outer, named(env, name_of(static_cast<OuterModule>(i))));
  auto names = Napi::Object::New(env);
  names.Set("projections", projections);
  names.Set("fused", fused);
  names.Set("norms", norms);
  names.Set("outer", outer);
  return names;
}

void set_anatomy(Napi::Object& facts, const ModelConfig& config) {
  const Napi::Env env = facts.Env();
  auto norms = Napi::Array::New(env);
  for (int i = 0; i < kLayerNorms; ++i) {
    const auto norm = static_cast<LayerNorm>(i);
    if (config.norms.has(norm)) push(norms, Napi::String::New(env, std::string(name_of(norm, config.norms).name)));
  }
  facts.Set("layerNorms", norms);
  auto projections = Napi::Object::New(env);
  for (int i = 0; i < kProjections; ++i) {
    const auto projection = static_cast<Projection>(i);
    auto object = Napi::Object::New(env);
    object.Set("outFeatures", config.out_features(projection));
    object.Set("inFeatures", config.in_features(projection));
    object.Set("storedAs", std::string(config.tensors[static_cast<size_t>(i)].module.name));
    object.Set("interleavedInGguf", config.gguf_row_order[static_cast<size_t>(i)] == RowOrder::kInterleavedHalves);
    projections.Set(std::string(name_of(projection).name), object);
  }
  facts.Set("projections", projections);
  facts.Set("ggufArchitecture", config.gguf_architecture);
}

}  // namespace lowrank::bindings
