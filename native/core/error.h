// The one error type of the native code. bindings/ turns it into the TypeScript class with the same code.
#pragma once

#include <stdexcept>
#include <string>

namespace lowrank {

enum class ErrorCode {
  kInvalidArgument,
  kModelFormat,
  kModelUnsupported,
  kAdapterFormat,
  kAdapterUnsupported,
  kAdapterShape,
  kAdapterNotFound,
  kContextLength,
  kOutOfMemory,
  kBackendUnavailable,
  kAborted,
  kTimeout,
  kQueueFull,
  kDisposed,
  kIo,
  kInternal,
};

// The stable name that JavaScript sees, such as "ERR_MODEL_FORMAT".
inline const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "ERR_INVALID_ARGUMENT";
    case ErrorCode::kModelFormat: return "ERR_MODEL_FORMAT";
    case ErrorCode::kModelUnsupported: return "ERR_MODEL_UNSUPPORTED";
    case ErrorCode::kAdapterFormat: return "ERR_ADAPTER_FORMAT";
    case ErrorCode::kAdapterUnsupported: return "ERR_ADAPTER_UNSUPPORTED";
    case ErrorCode::kAdapterShape: return "ERR_ADAPTER_SHAPE";
    case ErrorCode::kAdapterNotFound: return "ERR_ADAPTER_NOT_FOUND";
    case ErrorCode::kContextLength: return "ERR_CONTEXT_LENGTH";
    case ErrorCode::kOutOfMemory: return "ERR_OUT_OF_MEMORY";
    case ErrorCode::kBackendUnavailable: return "ERR_BACKEND_UNAVAILABLE";
    case ErrorCode::kAborted: return "ERR_ABORTED";
    case ErrorCode::kTimeout: return "ERR_TIMEOUT";
    case ErrorCode::kQueueFull: return "ERR_QUEUE_FULL";
    case ErrorCode::kDisposed: return "ERR_DISPOSED";
    case ErrorCode::kIo: return "ERR_IO";
    case ErrorCode::kInternal: return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace lowrank
