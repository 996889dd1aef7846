// Other settings of the emulated device for a while.
#pragma once

#include <string>

#include "device_under_test.h"
#include "emulator/emulator.h"

namespace lowrank::test {

class EmulatedSettings {
 public:
  EmulatedSettings() : before_(emulator::settings()) {}
  ~EmulatedSettings() { emulator::settings() = before_; }
  emulator::Settings* operator->() { return &emulator::settings(); }

 private:
  emulator::Settings before_;
};

// Whether the plugin is the emulated one, whose device a test can change.
inline bool emulated() { return std::string(device_under_test().device().plugin().kind) == "cuda-emulated"; }

}  // namespace lowrank::test
