// The one place where native errors become the package's TypeScript error class.
#pragma once

#include <napi.h>

#include <string>

#include "core/error.h"

namespace lowrank::bindings {

struct Failure {
  std::string code;
  std::string message;
};

// Inside a catch block: what was thrown.
Failure current_failure();
// new LowrankError(code, message)
Napi::Value make_error(Napi::Env env, const Failure& failure);

// Runs the body of a function that JavaScript calls; an Error or std::exception becomes a JavaScript exception.
template <class Body>
Napi::Value guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, make_error(env, current_failure()));
  }
}

}  // namespace lowrank::bindings
