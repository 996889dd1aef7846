// Streams: work in order, done when somebody waits for it (or at once, in the eager mode).
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "emulator/order.h"
#include "emulator/runtime.h"

namespace lowrank::emulator {

// One recording of an event.
struct EventRecord {
  struct Stream* stream;
  bool done = false;
  std::chrono::steady_clock::time_point when = {};
  order::Clock point = {};
};

struct Operation {
  std::function<void()> run;            // may throw Misuse
  std::shared_ptr<EventRecord> record;  // of an event: its time is taken when this is done
  order::Clock submitted;               // what the host did before it
};

struct Graph {
  std::vector<std::function<void()>> operations;
  bool invalid = false;  // something that cannot be captured was asked of the stream
};
struct ExecutableGraph {
  std::shared_ptr<const Graph> graph;
};

struct Stream {
  bool blocking;  // waits for the default stream, and that for it
  std::deque<std::unique_ptr<Operation>> operations = {};
  std::unique_ptr<Graph> captured = nullptr;  // while it captures
  std::unique_ptr<order::Line> line;
  order::Clock done;  // what the stream has done
};

struct Event {
  std::shared_ptr<EventRecord> last;
};

// The stream itself, or the default stream for null. Null where there is no such stream.
Stream* find_stream(Stream* stream);
cudaError_t submit(Stream* stream, std::function<void()> run, std::shared_ptr<EventRecord> record = nullptr);
void drain(Stream& stream);

}  // namespace lowrank::emulator
