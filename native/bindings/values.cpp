#include "bindings/values.h"

#include <cmath>

namespace lowrank::bindings {

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

}  // namespace lowrank::bindings
