#include "emulator/order.h"

#include <algorithm>

#include "emulator/races.h"

namespace lowrank::emulator::order {

uint32_t stretch = 1;

namespace {

struct Stretch {
  uint32_t line;
  uint32_t time;
};

struct State {
  Line host{0, {1}};
  Line* current = &host;
  uint32_t lines = 1;
  std::vector<Stretch> stretches{{0, 0}, {0, 1}};  // by number; the first is none
};
State& state() {
  static State* const state = new State;  // outlives every static object that calls in here
  return *state;
}

void join(Clock& into, const Clock& from) {
  if (into.size() < from.size()) into.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

// What the present line does from now on has a number of its own.
void number_stretch() {
  const Line& line = *state().current;
  stretch = static_cast<uint32_t>(state().stretches.size());
  state().stretches.push_back({line.index, line.seen[line.index]});
}

}  // namespace

std::unique_ptr<Line> begin_line() {
  State& in = state();
  auto line = std::make_unique<Line>(Line{in.lines++, in.current->seen});
  line->seen.resize(line->index + 1);
  line->seen[line->index] = 1;
  begin_stretch();
  return line;
}

Line* current_line() { return state().current; }

void go_on_as(Line* line) {
  if constexpr (!races::kWatched) return;
  state().current = line;
  number_stretch();
}

void begin_stretch() {
  if constexpr (!races::kWatched) return;
  Line& line = *state().current;
  ++line.seen[line.index];
  number_stretch();
}

void release(Clock& point) {
  if constexpr (!races::kWatched) return;
  join(point, state().current->seen);
  begin_stretch();
}

void acquire(const Clock& point) {
  if constexpr (races::kWatched) join(state().current->seen, point);
}

bool came_before(uint32_t number) {
  const Stretch& other = state().stretches[number];
  const Clock& seen = state().current->seen;
  return other.line < seen.size() && seen[other.line] >= other.time;
}

}  // namespace lowrank::emulator::order
