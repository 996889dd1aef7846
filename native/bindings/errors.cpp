#include "bindings/errors.h"

#include <exception>
#include <new>

#include "bindings/environment.h"

namespace lowrank::bindings {

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error_code_name(error.code()), error.what()};
  } catch (const Napi::Error& error) {
    return {error_code_name(ErrorCode::kInternal), error.Message()};
  } catch (const std::bad_alloc&) {
    return {error_code_name(ErrorCode::kOutOfMemory), "Expected more free memory: an allocation failed."};
  } catch (const std::exception& error) {
    return {error_code_name(ErrorCode::kInternal), error.what()};
  } catch (...) {
    return {error_code_name(ErrorCode::kInternal), "an unknown native error"};
  }
}

Napi::Value make_error(Napi::Env env, const Failure& failure) {
  const Environment& environment = Environment::of(env);
  const Napi::String code = Napi::String::New(env, failure.code);
  const Napi::String message = Napi::String::New(env, failure.message);
  if (!environment.error_class.IsEmpty()) return environment.error_class.New({code, message});
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", code);
  return error.Value();
}

}  // namespace lowrank::bindings
