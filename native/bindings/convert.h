// Between JavaScript values and the engine's structs. Everything is checked again here: a wrong number must be an
// error, never a wild read.
#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine_options.h"
#include "engine/previous_answers.h"
#include "engine/request.h"
#include "formats/gguf.h"
#include "formats/tensor_source.h"
#include "lora/adapter.h"
#include "model/config.h"
#include "model/weights.h"
#include "ops/rope_write_kv.h"

namespace lowrank::bindings {

using AdapterMap = std::map<int32_t, std::shared_ptr<Adapter>>;
using ComparisonMap = std::map<int32_t, std::shared_ptr<LogitComparison>>;

std::string string_of(const Napi::Object& object, const char* key);
int64_t integer_of(const Napi::Object& object, const char* key, int64_t min, int64_t max);
double number_of(const Napi::Object& object, const char* key, double min, double max);
Precision precision_of(const std::string& name);
const char* precision_name(Precision precision);
const char* kv_format_name(KvFormat format);
const char* lora_dtype_name(LoraDType dtype);
const char* packed_state_name(PackedState state);
const char* layer_norm_name(LayerNorm norm);

EngineOptions engine_options_of(const Napi::Object& object);
// What the numbers of a request refer to.
struct RequestContext {
  const ModelConfig& config;
  int32_t context_length;
  const AdapterMap& adapters;
  const ComparisonMap& comparisons;
  const std::shared_ptr<PreviousAnswers>& previous_answers;
};
Request request_of(const Napi::Object& object, const RequestContext& context);
std::vector<AdapterEntry> entries_of(const Napi::Array& array);
// Token ids of a vocabulary, one for each row at most. `comparison` is theirs.
std::vector<int32_t> compared_tokens_of(const Napi::Value& value, const LogitComparison& comparison, int32_t vocabulary);
// At most 256 ids that are not negative.
std::vector<int32_t> calibration_ids_of(const Napi::Value& value);
// The bytes of a Uint8Array, where they lie: a copy of 100 MB would hold up the event loop for 100 ms. The caller keeps the array
// and leaves it as it is while they are read.
std::span<const uint8_t> bytes_of(const Napi::Value& value);

Napi::Object differences_object(Napi::Env env, const LogitDifferences& differences);
Napi::Object event_object(Napi::Env env, const Event& event);
Napi::Array tensors_array(Napi::Env env, const TensorSource& source);
Napi::Object gguf_object(Napi::Env env, const GgufFile& file);

}  // namespace lowrank::bindings
