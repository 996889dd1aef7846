// Rotary embeddings: their base and scaling, as transformers 5 and llama.cpp read them.
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "core/error.h"
#include "model/architectures/architecture.h"

namespace lowrank {
namespace {

constexpr float kTau = 6.283185307179586f;
constexpr double kDefaultTheta = 10000;
constexpr double kGemmaTheta = 1000000;  // of layers that see everything
constexpr double kMinTheta = 1;
constexpr double kMaxTheta = 1e12;
constexpr double kMinFactor = 1e-6;
constexpr double kMaxFactor = 1e9;

[[noreturn]] void unsupported(const std::string& what) { throw Error(ErrorCode::kModelUnsupported, what); }
[[noreturn]] void malformed(const std::string& what) { throw Error(ErrorCode::kModelFormat, what); }

// Wavelength-dependent scaling of Llama 3.1 (its reference code, "apply_scaling").
void scale_llama3(RopeConfig& rope, float factor, float low_freq_factor, float high_freq_factor, float original_context) {
  const float low_wavelength = original_context / low_freq_factor;
  const float high_wavelength = original_context / high_freq_factor;
  for (float& frequency : rope.frequencies) {
    const float wavelength = kTau / frequency;
    if (wavelength < high_wavelength) continue;
    if (wavelength > low_wavelength) {
      frequency /= factor;
      continue;
    }
    const float smooth = (original_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
}

// The settings of one RoPE in config.json. Where several objects have a key, the first counts.
class Parameters {
 public:
  Parameters(std::vector<const Json*> objects, std::string name) : objects_(std::move(objects)), name_(std::move(name)) {}

  const Json* find(std::string_view key) const {
    for (const Json* object : objects_)
      if (const Json* found = object == nullptr ? nullptr : object->find(key)) return found;
    return nullptr;
  }
  std::string name(std::string_view key) const { return name_ + "." + std::string(key); }

  std::optional<double> find_number(std::string_view key, double least, double most) const {
    const Json* found = find(key);
    if (found == nullptr) return std::nullopt;
    const double number = found->as_double(name(key));
    if (!(number >= least && number <= most))
      malformed("Expected a number from " + std::to_string(least) + " to " + std::to_string(most) + " for " + name(key) + ".");
    return number;
  }

  // Anything else in here would be ignored.
  void check_keys(std::initializer_list<std::string_view> known, const std::string& type) const {
    for (const Json* object : objects_) {
      if (object == nullptr) continue;
      for (const Json::Member& member : object->members(name_))
        if (std::find(known.begin(), known.end(), member.key) == known.end() && !member.value.is_null())
          unsupported("Expected no " + quote_text(member.key) + " in " + name_ + " of the type " + type + ", received one.");
    }
  }

 private:
  std::vector<const Json*> objects_;
  std::string name_;
};

// transformers 5 takes the base of rope_parameters, transformers 4 the one at the top level: they must not differ.
double read_theta(const ModelFile& file, const Parameters& parameters, const char* top_level, double otherwise) {
  const auto inner = parameters.find_number("rope_theta", kMinTheta, kMaxTheta);
  const auto outer = file.find_float(top_level, "", kMinTheta, kMaxTheta);
  if (inner && outer && static_cast<float>(*inner) != *outer)
    unsupported("Expected one base for RoPE, received two: " + parameters.name("rope_theta") + " and " + top_level +
                " differ. Remove one of them.");
  return inner.value_or(outer ? static_cast<double>(*outer) : otherwise);
}

std::string type_of(const Parameters& parameters) {
  for (const char* key : {"rope_type", "type"})
    if (const Json* found = parameters.find(key)) return found->as_string(parameters.name(key));
  return "default";
}

// transformers prefers the one at the top level where there is one RoPE, and falls back on the context. `otherwise`: above 0, what
// stands there where the file has none.
float original_context(const ModelFile& file, const Parameters& parameters, bool only, int32_t otherwise) {
  constexpr const char* kKey = "original_max_position_embeddings";
  if (const auto outer = file.find_int(kKey, "", 1, 1 << 24); outer && only) return static_cast<float>(*outer);
  if (only && otherwise > 0) return static_cast<float>(otherwise);
  if (const auto inner = parameters.find_number(kKey, 1, 1 << 24)) return static_cast<float>(*inner);
  return static_cast<float>(file.get_int("max_position_embeddings", "", 1, 1 << 24));
}

// The frequencies of a longrope, each with a divisor of its own.
std::vector<float> divided_frequencies(const Parameters& parameters, const char* key, int32_t head_dim, float theta) {
  const Json* found = parameters.find(key);
  const std::string name = parameters.name(key);
  if (found == nullptr) malformed("Expected " + name + " for RoPE of the type longrope, it is missing.");
  const auto& items = found->items(name);
  if (items.size() != static_cast<size_t>(head_dim / 2))
    malformed("Expected head_dim / 2 numbers, " + std::to_string(head_dim / 2) + ", in " + name + ", received " +
              std::to_string(items.size()) + ".");
  std::vector<float> frequencies;
  for (int32_t i = 0; i < head_dim / 2; ++i) {
    const double factor = items[static_cast<size_t>(i)].as_double(name);
    if (!(factor >= kMinFactor && factor <= kMaxFactor)) malformed("Expected positive numbers in " + name + ".");
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto power = static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent)));
    frequencies.push_back(1.0f / (static_cast<float>(factor) * power));
  }
  return frequencies;
}

// LongRoPE (arXiv 2402.13753): frequencies for contexts up to the original one, and others for longer ones. q and k grow with the
// ratio of the two contexts in both.
RopeConfig long_rope(const ModelFile& file, int32_t head_dim, const Parameters& parameters, float theta, float original) {
  RopeConfig rope;
  rope.theta = theta;
  rope.frequencies = divided_frequencies(parameters, "short_factor", head_dim, theta);
  rope.long_frequencies = divided_frequencies(parameters, "long_factor", head_dim, theta);
  rope.short_context = static_cast<int32_t>(original);
  const auto context = static_cast<double>(file.get_int("max_position_embeddings", "", 1, 1 << 24));
  const double ratio = parameters.find_number("factor", kMinFactor, kMaxFactor).value_or(context / static_cast<double>(original));
  const double usual = ratio <= 1 ? 1 : std::sqrt(1 + std::log(ratio) / std::log(static_cast<double>(original)));
  rope.attention_factor = static_cast<float>(parameters.find_number("attention_factor", kMinFactor, kMaxFactor).value_or(usual));
  if (!std::isfinite(rope.attention_factor)) malformed("Expected a larger original_max_position_embeddings for RoPE of the type longrope.");
  return rope;
}

// `only`: the RoPE of all layers.
RopeConfig scaled_rope(const ModelFile& file, int32_t head_dim, const Parameters& parameters, double theta, bool only,
                       int32_t default_original_context = 0) {
  const std::string type = type_of(parameters);
  if (parameters.find("partial_rotary_factor") != nullptr && !parameters.find("partial_rotary_factor")->is_null() &&
      parameters.find_number("partial_rotary_factor", 0, 1) != 1)
    unsupported("Expected 1 for " + parameters.name("partial_rotary_factor") + ": RoPE of a part of the head is not supported.");
  const auto number = [&](const char* key) {
    const auto value = parameters.find_number(key, kMinFactor, kMaxFactor);
    if (!value) malformed("Expected " + parameters.name(key) + " for RoPE of the type " + type + ", it is missing.");
    return static_cast<float>(*value);
  };
  if (type == "default") {
    parameters.check_keys({"rope_theta", "rope_type", "type", "partial_rotary_factor"}, type);
    return plain_rope(head_dim, static_cast<float>(theta), 1);
  }
  if (type == "linear") {
    parameters.check_keys({"rope_theta", "rope_type", "type", "partial_rotary_factor", "factor"}, type);
    return plain_rope(head_dim, static_cast<float>(theta), number("factor"));
  }
  if (type == "llama3") {
    parameters.check_keys({"rope_theta", "rope_type", "type", "partial_rotary_factor", "factor", "low_freq_factor", "high_freq_factor",
                           "original_max_position_embeddings"},
                          type);
    RopeConfig rope = plain_rope(head_dim, static_cast<float>(theta), 1);
    scale_llama3(rope, number("factor"), number("low_freq_factor"), number("high_freq_factor"),
                 original_context(file, parameters, only, default_original_context));
    return rope;
  }
  if (type == "longrope") {
    parameters.check_keys({"rope_theta", "rope_type", "type", "partial_rotary_factor", "factor", "attention_factor", "short_factor",
                           "long_factor", "original_max_position_embeddings"},
                          type);
    return long_rope(file, head_dim, parameters, static_cast<float>(theta),
                     original_context(file, parameters, only, default_original_context));
  }
  unsupported("Expected default, linear, llama3 or longrope for the RoPE type, received " + quote_text(type) + ".");
}

void check_whole_head(const ModelFile& file) {
  if (file.has("partial_rotary_factor") && file.find_float("partial_rotary_factor", "", 0, 1) != 1.0f)
    unsupported("Expected 1 for partial_rotary_factor: RoPE of a part of the head is not supported.");
}

// The object, or null where it is absent, null or empty.
const Json* find_filled(const ModelFile& file, const char* key) {
  const Json* found = file.find_object(key);
  return found != nullptr && !found->members(key).empty() ? found : nullptr;
}

// llama.cpp: linear is the type where none is named, and a factor of 0 is none.
RopeConfig read_gguf_rope(const ModelFile& file, int32_t head_dim) {
  const auto dimensions = file.find_int("", "rope.dimension_count", 1, 1 << 20);
  if (dimensions && *dimensions != head_dim)
    unsupported("Expected rope.dimension_count to be the head's size, " + std::to_string(head_dim) + ", received " +
                std::to_string(*dimensions) + ": RoPE of a part of the head is not supported.");
  const float theta =
      file.find_float("", "rope.freq_base", kMinTheta, kMaxTheta).value_or(static_cast<float>(kDefaultTheta));
  const std::string type = file.find_string("", "rope.scaling.type").value_or("linear");
  if (type != "none" && type != "linear")
    unsupported("Expected none or linear for rope.scaling.type, received " + quote_text(type) + ".");
  const auto older = file.find_float("", "rope.scale_linear", 0, kMaxFactor);
  float factor = file.find_float("", "rope.scaling.factor", 0, kMaxFactor).value_or(older.value_or(0));
  if (type == "none" || factor == 0) factor = 1;
  return plain_rope(head_dim, theta, factor);
}

}  // namespace

RopeConfig plain_rope(int32_t head_dim, float theta, float factor) {
  RopeConfig rope;
  rope.theta = theta;
  for (int32_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    rope.frequencies.push_back(1.0f / static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent))) /
                               factor);
  }
  return rope;
}

void divide_frequencies(RopeConfig& rope, const ModelFile& file, const char* tensor) {
  const TensorInfo* factors = file.claim(tensor);
  if (factors == nullptr) return;
  if (factors->elements() != static_cast<int64_t>(rope.frequencies.size()) || factors->rows() != 1)
    malformed(std::string("Expected head_dim / 2 elements in ") + tensor + ".");
  std::vector<float> divisors(rope.frequencies.size());
  file.tensors().read_rows(*factors, 0, 1, divisors.data());
  for (size_t i = 0; i < divisors.size(); ++i) {
    if (!(divisors[i] > 0) || !std::isfinite(divisors[i])) malformed(std::string("Expected positive numbers in ") + tensor + ".");
    rope.frequencies[i] /= divisors[i];
  }
}

void read_rope(const ModelFile& file, ModelConfig& config, const RopeDefaults& defaults) {
  if (file.is_gguf()) {
    config.ropes = {read_gguf_rope(file, config.head_dim)};
    return;
  }
  check_whole_head(file);
  const Json* scaling = find_filled(file, "rope_scaling");
  const Json* parameters = find_filled(file, "rope_parameters");
  // transformers takes rope_scaling alone where both are there, so that the base in rope_parameters is lost.
  const Parameters chosen({scaling != nullptr ? scaling : parameters}, scaling != nullptr ? "rope_scaling" : "rope_parameters");
  const double theta = read_theta(file, chosen, "rope_theta", defaults.theta);
  if (scaling != nullptr && parameters != nullptr) {
    const auto lost = Parameters({parameters}, "rope_parameters").find_number("rope_theta", kMinTheta, kMaxTheta);
    if (lost && *lost != theta)
      unsupported("Expected rope_parameters or rope_scaling, received both with another base for RoPE. Write one rope_parameters.");
  }
  config.ropes = {scaled_rope(file, config.head_dim, chosen, theta, true, defaults.original_context)};
}

void read_gemma_ropes(const ModelFile& file, ModelConfig& config) {
  if (file.is_gguf()) {
    const float local =
        file.find_float("", "rope.freq_base_swa", kMinTheta, kMaxTheta).value_or(static_cast<float>(kDefaultTheta));
    config.ropes = {read_gguf_rope(file, config.head_dim), plain_rope(config.head_dim, local, 1)};
    return;
  }
  check_whole_head(file);
  const Json* both = file.find_object("rope_parameters");
  if (both != nullptr)
    for (const Json::Member& member : both->members())
      if (member.key != "full_attention" && member.key != "sliding_attention")
        unsupported("Expected full_attention and sliding_attention in rope_parameters of a gemma3 model, received " +
                    quote_text(member.key) + ".");
  const Json* scaling = file.find_object("rope_scaling");
  // transformers adds rope_scaling to the settings of full attention, where "type" does not count.
  if (scaling != nullptr && scaling->find("rope_type") == nullptr && scaling->find("type") != nullptr)
    unsupported("Expected rope_type in rope_scaling of a gemma3 model, received type.");
  const Parameters full({scaling, file.find_object("rope_parameters.full_attention")}, "rope_parameters.full_attention");
  const Parameters sliding({file.find_object("rope_parameters.sliding_attention")}, "rope_parameters.sliding_attention");
  const double theta = read_theta(file, full, "rope_theta", kGemmaTheta);
  const double local = read_theta(file, sliding, "rope_local_base_freq", kDefaultTheta);
  config.ropes = {scaled_rope(file, config.head_dim, full, theta, false),
                  scaled_rope(file, config.head_dim, sliding, local, false)};
}

}  // namespace lowrank
