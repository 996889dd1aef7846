// Which work of the host and of streams comes before which, for the race detector: vector clocks. Nothing is kept in a build
// without it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace lowrank::emulator::order {

// Up to which of its stretches each line came before, by the line's index.
using Clock = std::vector<uint32_t>;

// Work that comes one after the other: all that the host does, or all that a stream does.
struct Line {
  uint32_t index;
  Clock seen;  // its own entry: the stretch that it is in, from 1
};

// The number of the stretch that runs: a part of a line within which no other line learns of anything. No two have one number.
extern uint32_t stretch;

// A line that begins after all that the present one has done.
std::unique_ptr<Line> begin_line();
Line* current_line();
// Orders nothing.
void go_on_as(Line* line);
void begin_stretch();
// All that came before a release of `point` comes before all that comes after a later acquire of it.
void release(Clock& point);
void acquire(const Clock& point);
// Whether all of that stretch comes before the one that runs.
bool came_before(uint32_t stretch);

}  // namespace lowrank::emulator::order
