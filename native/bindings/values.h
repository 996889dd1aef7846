// Plain values from JavaScript, checked, and arrays to it.
#pragma once

#include <napi.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"

namespace lowrank::bindings {

[[noreturn]] inline void invalid(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

template <class T>
std::vector<T> typed_array(const Napi::Value& value, const char* name, napi_typedarray_type type) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    invalid(std::string("Expected a typed array for ") + name + ".");
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

inline std::vector<int32_t> int32_array(const Napi::Object& object, const char* key) {
  return typed_array<int32_t>(object.Get(key), key, napi_int32_array);
}

inline void check_tokens(const std::vector<int32_t>& tokens, const char* key, int32_t vocabulary) {
  for (const int32_t token : tokens)
    if (token < 0 || token >= vocabulary)
      invalid("Expected token ids from 0 to " + std::to_string(vocabulary - 1) + " for " + key + ", received " +
              std::to_string(token) + ".");
}

std::string string_of(const Napi::Object& object, const char* key);
int64_t integer_of(const Napi::Object& object, const char* key, int64_t min, int64_t max);
double number_of(const Napi::Object& object, const char* key, double min, double max);

template <class T>
Napi::Value typed(Napi::Env env, const std::vector<T>& values) {
  auto array = Napi::TypedArrayOf<T>::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

}  // namespace lowrank::bindings
