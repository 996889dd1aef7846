#include "device/recorder.h"

#include "core/error.h"

namespace lowrank::device {
namespace {

thread_local Recorder* current_recorder = nullptr;

}  // namespace

Recorder& Recorder::current() {
  if (current_recorder == nullptr) throw Error(ErrorCode::kInternal, "Expected a step under record for an op of a device.");
  return *current_recorder;
}

Recording::Recording(Recorder& recorder) : before_(current_recorder) { current_recorder = &recorder; }
Recording::~Recording() { current_recorder = before_; }

}  // namespace lowrank::device
