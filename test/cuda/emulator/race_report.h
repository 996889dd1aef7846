// What the race detector says of a race.
#pragma once

#include <cstdint>

#include "emulator/races.h"

namespace lowrank::emulator::races {

inline constexpr uint32_t kNobody = 0xffffffff;

// Who accessed: a thread of a block, or kNobody's, for the host or a copy of a stream.
struct Accessor {
  uint32_t thread;
  uint32_t block;
  uint32_t place;  // the lower half of the address of the code
  bool same_launch;
};

[[noreturn]] void report(Kind kind, const void* data, size_t bytes, Memory memory, const Accessor& now, Kind kind_before,
                         const Accessor& before);

}  // namespace lowrank::emulator::races
