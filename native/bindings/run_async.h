// The template of environment.h.
#pragma once

#include <optional>
#include <utility>

#include "bindings/errors.h"

namespace lowrank::bindings {

template <class Result>
Napi::Promise run_async(Napi::Env env, std::function<Result()> work, std::function<Napi::Value(Napi::Env, Result&&)> convert) {
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  Environment::of(env).start([deferred, work = std::move(work), convert = std::move(convert)]() -> Environment::Task {
    std::shared_ptr<Result> result;
    std::optional<Failure> failure;
    try {
      result = std::make_shared<Result>(work());
    } catch (...) {
      failure = current_failure();
    }
    return [deferred, result, failure, convert](Napi::Env task_env) {
      if (failure) {
        deferred->Reject(make_error(task_env, *failure));
        return;
      }
      try {
        deferred->Resolve(convert(task_env, std::move(*result)));
      } catch (...) {
        deferred->Reject(make_error(task_env, current_failure()));
      }
    };
  });
  return deferred->Promise();
}

}  // namespace lowrank::bindings
