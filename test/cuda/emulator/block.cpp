#include "emulator/block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <utility>

#include "emulator/emulator.h"
#include "emulator/runtime.h"
#include "emulator/sanitizers.h"

namespace lowrank::emulator {

ThreadView* current_thread = nullptr;
BlockView current_block;

namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kTurnsBeforeYield = 8;  // shuffled: one in so many collectives lets another warp on

// The block that runs: there is one at a time, on one thread of the host.
struct Block {
  Fiber scheduler;
  std::vector<Thread> threads{kMaxThreads};
  std::vector<Warp> warps{kMaxThreads / 32};
  FiberStacks stacks{kMaxThreads};
  SharedMemory shared;

  const LaunchRequest* request = nullptr;
  uint32_t thread_count = 0;
  uint32_t warp_count = 0;
  uint32_t exited = 0;
  uint32_t at_barrier = 0;
  uint32_t barrier_turn = 0;
  int predicates[2] = {};
  std::unique_ptr<Misuse> misuse;
  uint64_t random = 0;
  bool shuffled = false;
};

// Made at the first launch.
Block* the_block = nullptr;
Block& block() { return *the_block; }

uint32_t next_random(Block& in) {  // splitmix64
  uint64_t z = in.random += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>((z ^ z >> 31) >> 32);
}

uint32_t turns_of(const Warp& warp, uint32_t lanes) {
  if (warp.turns_are_lanes || lanes == kWholeWarp) return lanes;
  uint32_t turns = 0;
  for (; lanes != 0; lanes &= lanes - 1) turns |= 1u << warp.turn_of_lane[__builtin_ctz(lanes)];
  return turns;
}

void run_thread(Thread& from, Thread& to) {
  current_thread = &to;
  switch_fiber(from.fiber, to.fiber);
}

// Lets on the next lane of the warp that can go on, or another warp. Comes back when it is this thread's turn.
void yield_in_warp(Thread& self) {
  Warp& warp = *self.warp;
  if (warp.ready == 0) {
    switch_fiber(self.fiber, block().scheduler);
    return;
  }
  Thread& next = *warp.lanes[warp.lane_of_turn[__builtin_ctz(warp.ready)]];
  if (&next != &self) run_thread(self, next);
}

// `from`: the code that waits for them.
void finish_oldest_copies(Thread& thread, size_t count, const void* from) {
  for (size_t i = 0; i < count; ++i) {
    const AsyncCopy& copy = thread.copies[i];
    sanitizers::note_write(copy.shared, 16, from);
    if (copy.valid) {
      sanitizers::note_read(copy.global, 16, from);
      std::memcpy(copy.shared, copy.global, 16);
    } else {
      std::memset(copy.shared, 0, 16);
    }
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<ptrdiff_t>(count));
}

// One thread of each block, one after the other: to begin anew on a stack costs far more than most threads do, above all with the
// address sanitizer, which has a second stack for each.
void thread_main() {
  fiber_has_begun();
  Thread& self = running_thread();
  for (;;) {
    Block& in = block();
    in.request->call(in.request->kernel, in.request->params);
    finish_oldest_copies(self, self.copies.size(), static_cast<const uint8_t*>(in.request->kernel) + 1);
    Warp& warp = *self.warp;
    warp.exited |= 1u << self.lane;
    warp.ready &= ~(1u << warp.turn_of_lane[self.lane]);
    ++in.exited;
    Fiber* next = &in.scheduler;
    if (warp.ready != 0) {
      Thread& thread = *warp.lanes[warp.lane_of_turn[__builtin_ctz(warp.ready)]];
      current_thread = &thread;
      next = &thread.fiber;
    }
    self.rests = true;
    switch_fiber(self.fiber, *next);
  }
}

void set_turns(Block& in, Warp& warp) {
  const Order order = settings().order;
  for (uint32_t turn = 0; turn < 32; ++turn)
    warp.lane_of_turn[turn] = static_cast<uint8_t>(order == Order::kDescending ? 31 - turn : turn);
  if (order == Order::kShuffled)
    for (uint32_t turn = 31; turn > 0; --turn)
      std::swap(warp.lane_of_turn[turn], warp.lane_of_turn[next_random(in) % (turn + 1)]);
  for (uint32_t turn = 0; turn < 32; ++turn) warp.turn_of_lane[warp.lane_of_turn[turn]] = static_cast<uint8_t>(turn);
  warp.turns_are_lanes = order == Order::kAscending;
}

void begin_block(Block& in, const LaunchRequest& request, uint3 index) {
  current_block = {index, request.block, request.grid};
  in.request = &request;
  in.thread_count = request.block.x * request.block.y * request.block.z;
  in.warp_count = (in.thread_count + 31) / 32;
  in.exited = in.at_barrier = in.barrier_turn = 0;
  in.predicates[0] = in.predicates[1] = 0;
  in.misuse.reset();
  in.shared.begin_block(request.shared_bytes, request.shared_limit);
  races::begin_block(index.x + request.grid.x * (index.y + request.grid.y * index.z));
  for (uint32_t w = 0; w < in.warp_count; ++w) {
    Warp& warp = in.warps[w];
    const uint32_t lanes = std::min(32u, in.thread_count - 32 * w);
    warp.exists = lanes == 32 ? kWholeWarp : (1u << lanes) - 1;
    warp.exited = warp.at_barrier = 0;
    warp.group_count = 0;
    set_turns(in, warp);
    warp.ready = turns_of(warp, warp.exists);
    for (uint32_t lane = 0; lane < lanes; ++lane) {
      const uint32_t at = 32 * w + lane;
      Thread& thread = in.threads[at];
      thread.index = {at % request.block.x, at / request.block.x % request.block.y, at / (request.block.x * request.block.y)};
      thread.number = at;
      thread.lane = lane;
      thread.has_fenced = false;
      thread.warp = &warp;
      thread.waits_for = nullptr;
      thread.copies.clear();
      thread.groups.clear();
      thread.open_copies = 0;
      thread.observed.clear();
      if (!std::exchange(thread.rests, false)) in.stacks.prepare(thread.fiber, at, thread_main);
      warp.lanes[lane] = &thread;
    }
  }
}

// The next warp that can go on, or null. Shuffled: any of them.
Warp* pick_warp(Block& in) {
  const Order order = settings().order;
  const uint32_t first = order == Order::kShuffled ? next_random(in) % in.warp_count : 0;
  for (uint32_t i = 0; i < in.warp_count; ++i) {
    const uint32_t at = (first + i) % in.warp_count;
    Warp& warp = in.warps[order == Order::kDescending ? in.warp_count - 1 - at : at];
    if (warp.ready != 0) return &warp;
  }
  return nullptr;
}

// Nobody can go on, and somebody waits: why.
Misuse stuck(Block& in) {
  const Thread* first = nullptr;
  for (uint32_t t = 0; t < in.thread_count && first == nullptr; ++t)
    if (in.threads[t].waits_for != nullptr) first = &in.threads[t];
  const auto place = [](const Thread& thread) {
    return std::string(thread.waits_for) + " of " + file_name(thread.waits_at) + ":" + std::to_string(thread.waits_at.line);
  };
  std::string text = "Expected all threads at " + place(*first) + ", received " + std::to_string(in.exited) + " of " +
                     std::to_string(in.thread_count) + " that have ended";
  for (uint32_t t = 0; t < in.thread_count; ++t) {
    const Thread& other = in.threads[t];
    if (other.waits_for == nullptr) continue;
    if (other.waits_for == first->waits_for && other.waits_at.line == first->waits_at.line) continue;
    text += " and one at " + place(other);
    break;
  }
  text += ". A barrier must be met by every thread, a warp's instruction by every lane of its mask.";
  return {cudaErrorLaunchFailure, text};
}

void run_block(const LaunchRequest& request, uint3 index) {
  Block& in = block();
  begin_block(in, request, index);
  while (in.exited < in.thread_count && !in.misuse) {
    Warp* const warp = pick_warp(in);
    if (warp == nullptr) {
      in.misuse = std::make_unique<Misuse>(stuck(in));
      break;
    }
    Thread& next = *warp->lanes[warp->lane_of_turn[__builtin_ctz(warp->ready)]];
    current_thread = &next;
    switch_fiber(in.scheduler, next.fiber);
  }
  current_thread = nullptr;
  ++counted.blocks;
}

}  // namespace

Thread& running_thread() { return *static_cast<Thread*>(current_thread); }

const char* file_name(Location where) {
  const char* const slash = std::strrchr(where.file, '/');
  return slash != nullptr ? slash + 1 : where.file;
}

void end_launch(int error, Location where, const char* format, ...) {
  Block& in = block();
  in.misuse = std::make_unique<Misuse>();
  in.misuse->error = error;
  std::string& text = in.misuse->text;
  text.resize(512);
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  text.resize(std::min(text.size() - 1, static_cast<size_t>(length)));
  const uint3 thread = current_thread->index, at = current_block.index;
  char place[256];
  std::snprintf(place, sizeof place, ": thread (%u, %u, %u) of block (%u, %u, %u) at %s:%d.", thread.x, thread.y, thread.z, at.x,
                at.y, at.z, file_name(where), where.line);
  text += place;
  switch_fiber(running_thread().fiber, in.scheduler);
  __builtin_unreachable();
}

void run_grid(const LaunchRequest& request) {
  if (the_block == nullptr) the_block = new Block;
  Block& in = block();
  const Order order = settings().order;
  races::begin_launch();
  const uint64_t blocks = uint64_t{request.grid.x} * request.grid.y * request.grid.z;
  in.random = settings().seed + blocks;
  in.shuffled = order == Order::kShuffled;
  // Shuffled: from somewhere on, in steps of a number without a divisor in common with theirs.
  uint64_t step = 1, at = 0;
  if (order == Order::kShuffled) {
    at = next_random(in) % blocks;
    for (step = next_random(in) % blocks + 1; std::gcd(step, blocks) != 1;) ++step;
  }
  for (uint64_t i = 0; i < blocks && !in.misuse; ++i, at = (at + step) % blocks) {
    const uint64_t index = order == Order::kDescending ? blocks - 1 - at : at;
    const uint64_t row = index / request.grid.x;
    run_block(request, {static_cast<unsigned>(index % request.grid.x), static_cast<unsigned>(row % request.grid.y),
                        static_cast<unsigned>(row / request.grid.y)});
  }
  races::end_launch();
  ++counted.launches;
  if (in.misuse) throw Misuse(*std::exchange(in.misuse, nullptr));
}

void collective(const Collective& kind, uint32_t mask, void* operand, Location where) {
  Thread& self = running_thread();
  Warp& warp = *self.warp;
  const uint32_t bit = 1u << self.lane;
  if ((mask & bit) == 0)
    end_launch(cudaErrorLaunchFailure, where, "Expected a mask with lane %u itself for %s, received one without", self.lane,
               kind.name);
  if ((mask & (~warp.exists | warp.exited)) != 0)
    end_launch(cudaErrorLaunchFailure, where,
               "Expected a mask of lanes that run for %s, received one with lanes that have ended or never were", kind.name);
  uint32_t at = 0;
  while (at < warp.group_count && warp.groups[at].mask != mask) ++at;
  if (at == warp.group_count) warp.groups[warp.group_count++] = {mask, 0, &kind, where};
  WaitingGroup& group = warp.groups[at];
  if (group.kind != &kind || (kind.aligned && group.where.line != where.line))
    end_launch(cudaErrorLaunchFailure, where, "Expected all lanes at %s of %s:%d, received %s", group.kind->name,
               file_name(group.where), group.where.line, kind.name);
  self.waits_at = where;
  warp.operands[self.lane] = operand;
  group.arrived |= bit;
  if (group.arrived == mask) {
    if (kind.combine != nullptr) kind.combine(warp.operands, mask);
    ++counted.collectives;
    if (kind.orders_memory) races::warp_met(self.number / 32, mask);
    group = warp.groups[--warp.group_count];
    warp.ready |= turns_of(warp, mask);
    if (block().shuffled && next_random(block()) % kTurnsBeforeYield == 0)
      switch_fiber(self.fiber, block().scheduler);
    else
      yield_in_warp(self);
  } else {
    warp.ready &= ~(1u << warp.turn_of_lane[self.lane]);
    self.waits_for = kind.name;
    yield_in_warp(self);
    self.waits_for = nullptr;
  }
}

int barrier(bool predicate, Location where) {
  Block& in = block();
  Thread& self = running_thread();
  Warp& warp = *self.warp;
  const uint32_t turn = in.barrier_turn & 1;
  if (warp.at_barrier != 0) {
    const Thread& other = *warp.lanes[__builtin_ctz(warp.at_barrier)];
    if (other.waits_at.line != where.line)
      end_launch(cudaErrorLaunchFailure, where, "Expected the lanes of a warp at one barrier, received one at %s:%d and another",
                 file_name(other.waits_at), other.waits_at.line);
  }
  in.predicates[turn] += predicate ? 1 : 0;
  warp.at_barrier |= 1u << self.lane;
  warp.ready &= ~(1u << warp.turn_of_lane[self.lane]);
  self.waits_at = where;
  self.waits_for = "the barrier";
  if (++in.at_barrier == in.thread_count) {
    in.at_barrier = 0;
    races::barrier_met();
    in.predicates[++in.barrier_turn & 1] = 0;
    for (uint32_t w = 0; w < in.warp_count; ++w) {
      in.warps[w].at_barrier = 0;
      in.warps[w].ready = turns_of(in.warps[w], in.warps[w].exists);
    }
    switch_fiber(self.fiber, in.scheduler);
  } else {
    yield_in_warp(self);
  }
  self.waits_for = nullptr;
  return in.predicates[turn];
}

void* dynamic_shared() { return block().shared.dynamic(); }

void* shared_array(const void* tag, size_t bytes, Location where) {
  void* const data = block().shared.array(tag, bytes);
  if (data == nullptr)
    end_launch(cudaErrorInvalidValue, where, "Expected at most %zu bytes of shared memory in one block, received more",
               block().request->shared_limit);
  return data;
}

bool is_shared(const void* data, size_t bytes) { return block().shared.holds(data, bytes); }

void begin_copy(const AsyncCopy& copy) {
  Thread& self = running_thread();
  self.copies.push_back(copy);
  ++self.open_copies;
}

void commit_copies() {
  Thread& self = running_thread();
  self.groups.push_back(self.open_copies);
  self.open_copies = 0;
}

void wait_copies(size_t pending) {
  Thread& self = running_thread();
  size_t count = 0, groups = 0;
  for (; self.groups.size() - groups > pending && groups < self.groups.size(); ++groups) count += self.groups[groups];
  if (groups == 0) return;
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<ptrdiff_t>(groups));
  if (count != 0) finish_oldest_copies(self, count, __builtin_return_address(0));
}

}  // namespace lowrank::emulator
