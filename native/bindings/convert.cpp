#include "bindings/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bindings/values.h"
#include "core/error.h"
#include "decoder/names.h"

namespace lowrank::bindings {
namespace {

void set_place(AdapterEntry& entry, const std::string& module, const LayerNorms& norms) {
  for (int i = 0; i < kProjections; ++i) {
    const auto projection = static_cast<Projection>(i);
    if (module != name_of(projection).name) continue;
    entry.place = AdapterEntry::Place::kProjection;
    entry.projection = projection;
    return;
  }
  for (int i = 0; i < kLayerNorms; ++i) {
    const auto norm = static_cast<LayerNorm>(i);
    if (!norms.has(norm) || module != name_of(norm, norms).name) continue;
    entry.place = AdapterEntry::Place::kLayerNorm;
    entry.norm = norm;
    return;
  }
  if (module == name_of(OuterModule::kFinalNorm).name)
    entry.place = AdapterEntry::Place::kFinalNorm;
  else if (module == name_of(OuterModule::kLmHead).name)
    entry.place = AdapterEntry::Place::kLmHead;
  else if (module == name_of(OuterModule::kEmbedTokens).name)
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

std::vector<AdapterEntry> entries_of(const Napi::Array& array, const LayerNorms& norms) {
  std::vector<AdapterEntry> entries;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto item = array.Get(i).As<Napi::Object>();
    AdapterEntry entry;
    entry.tensor = string_of(item, "tensor");
    entry.role = role_of(string_of(item, "role"));
    set_place(entry, string_of(item, "module"), norms);
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
