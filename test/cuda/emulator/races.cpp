#include "emulator/races.h"

#if defined(LOWRANK_EMULATOR_THREAD)

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <vector>

#include "emulator/order.h"
#include "emulator/race_report.h"
#include "emulator/threads.h"

namespace lowrank::emulator::races {

namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kLanes = 32;
constexpr size_t kWord = 4;

struct Stamp {
  uint32_t stretch;  // 0: none
  uint32_t block;
  uint32_t thread;   // kNobody: of no launch
  uint32_t barriers;  // that the block had met at
  uint32_t time;     // the lane's
  uint32_t place;
};

// Accesses of one element, none of which comes before another, by what is known of them.
struct Accesses {
  Stamp last;
  uint32_t lanes;  // of the last one's warp, since the block's last barrier
  bool other_warps;   // of its block, since the last barrier
  bool other_blocks;  // of its launch
};

struct Cell {
  Accesses writes;  // one, or atomic operations
  Accesses reads;   // since
  uint32_t elsewhere;  // the stretch of an earlier read that nothing orders before the last; 0: none
  uint32_t elsewhere_place;
  bool atomic;  // the writes
  bool split;   // of a word: its bytes have cells of their own
};

struct Region {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  Memory memory = Memory::kDevice;
  Cell* words = nullptr;
  Cell* bytes = nullptr;
};

// What one lane of a warp has heard of another: its accesses with an earlier time come before.
struct WarpOrder {
  uint32_t time;  // of the last event that orders
  uint32_t heard[kLanes][kLanes];
};

// What an acquire learns of one warp, and of its block.
struct Seen {
  uint32_t block;
  uint32_t barriers;
  uint32_t warp;
  uint32_t heard[kLanes];
};

struct State {
  std::vector<Region> regions;
  WarpOrder warps[kMaxThreads / kLanes];
  uint32_t block = 0;
  uint32_t barriers = 0;
  std::map<uintptr_t, std::vector<Accesses>> other_blocks;  // atomic operations of earlier blocks of the launch, by their word
  std::map<const void*, std::vector<Seen>> released;
  std::vector<Seen> block_seen;             // what all threads of the block know since a barrier
  std::vector<Seen> seen[kMaxThreads];     // and what each has learnt after it
  bool any_seen = false;
};
// Plain memory, made by the first watch: accesses before it are of no interest.
State* the_state = nullptr;

Cell* reserve_cells(size_t count) {
  void* const memory =
      mmap(nullptr, count * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<Cell*>(memory);
}

uint32_t lane_of(uint32_t thread) { return thread % kLanes; }
uint32_t warp_of(uint32_t thread) { return thread / kLanes; }

// One access, and what orders others before it.
class Access {
 public:
  Access(State& state, const Region& region, const void* data, size_t bytes, Kind kind, const void* from)
      : state_(state), region_(region), data_(data), bytes_(bytes), kind_(kind) {
    by_ = {order::stretch, state.block, kNobody, state.barriers, 0, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(from))};
    if (current_thread == nullptr) return;
    by_.thread = current_thread->number;
    heard_ = state.warps[warp_of(by_.thread)].heard[current_thread->lane];
    by_.time = heard_[current_thread->lane];
  }

  // `word`: the address of the word that the cell is of, or is a part of.
  void visit(Cell& cell, uintptr_t word) const {
    if (region_.memory == Memory::kShared) forget_other_blocks(cell);
    if (!(kind_ == Kind::kAtomic && cell.atomic) && !writes_before(cell, word))
      end(cell.writes.last, cell.atomic ? Kind::kAtomic : Kind::kWrite);
    if (kind_ == Kind::kRead) {
      if (cell.reads.last.stretch != 0 && cell.reads.last.stretch != by_.stretch && !all_before(cell.reads)) {
        cell.elsewhere = cell.reads.last.stretch;
        cell.elsewhere_place = cell.reads.last.place;
      }
      add(cell.reads);
      return;
    }
    if (!all_before(cell.reads)) end(cell.reads.last, Kind::kRead);
    if (cell.elsewhere != 0 && !order::came_before(cell.elsewhere))
      end({cell.elsewhere, 0, kNobody, 0, 0, cell.elsewhere_place}, Kind::kRead);
    if (kind_ == Kind::kAtomic && cell.atomic)
      add_atomic(cell.writes, word);
    else
      cell.writes = alone();
    cell.atomic = kind_ == Kind::kAtomic;
    cell.reads = {};
    cell.elsewhere = 0;
  }

 private:
  bool of_this_launch(const Stamp& stamp) const { return stamp.stretch == by_.stretch; }

  // Each block has shared memory of its own, at one address.
  void forget_other_blocks(Cell& cell) const {
    for (Accesses* accesses : {&cell.writes, &cell.reads})
      if (!of_this_launch(accesses->last) || accesses->last.block != by_.block) *accesses = {};
  }

  bool all_before(const Accesses& accesses) const {
    const Stamp& last = accesses.last;
    if (last.stretch == 0) return true;
    if (!of_this_launch(last)) return order::came_before(last.stretch);
    if (by_.thread == kNobody) return true;
    if (accesses.other_blocks) return false;
    if (last.block == by_.block) {
      if (last.barriers < by_.barriers) return true;
      if (!accesses.other_warps && warp_of(last.thread) == warp_of(by_.thread) &&
          heard_by(heard_, accesses.lanes & ~(1u << lane_of(by_.thread)), last.time))
        return true;
    }
    return state_.any_seen && (is_in(state_.block_seen, accesses) || is_in(state_.seen[by_.thread], accesses));
  }

  // Of atomic operations by several blocks, each block's are known: the last block may go on with what they count.
  bool writes_before(const Cell& cell, uintptr_t word) const {
    if (!cell.atomic || !cell.writes.other_blocks || !of_this_launch(cell.writes.last)) return all_before(cell.writes);
    const std::vector<Accesses>& others = state_.other_blocks[word];
    const auto before = [&](Accesses accesses) {
      accesses.other_blocks = false;
      return all_before(accesses);
    };
    return before(cell.writes) && std::all_of(others.begin(), others.end(), before);
  }

  void add_atomic(Accesses& accesses, uintptr_t word) const {
    const Accesses before = accesses;
    add(accesses);
    if (!accesses.other_blocks || before.last.block == by_.block) return;
    std::vector<Accesses>& others = state_.other_blocks[word];
    if (!before.other_blocks) others.clear();
    others.push_back(before);
  }

  static bool heard_by(const uint32_t* heard, uint32_t lanes, uint32_t time) {
    for (; lanes != 0; lanes &= lanes - 1)
      if (heard[__builtin_ctz(lanes)] <= time) return false;
    return true;
  }

  static bool is_in(const std::vector<Seen>& all, const Accesses& accesses) {
    const Stamp& last = accesses.last;
    return std::any_of(all.begin(), all.end(), [&](const Seen& seen) {
      if (seen.block != last.block) return false;
      if (last.barriers < seen.barriers) return true;
      return !accesses.other_warps && seen.warp == warp_of(last.thread) && heard_by(seen.heard, accesses.lanes, last.time);
    });
  }

  Accesses alone() const { return {by_, by_.thread == kNobody ? 0 : 1u << lane_of(by_.thread), false, false}; }

  void add(Accesses& accesses) const {
    if (!of_this_launch(accesses.last) || all_before(accesses)) {
      accesses = alone();
      return;
    }
    const Accesses before = accesses;
    accesses = alone();
    accesses.other_blocks = before.other_blocks || before.last.block != by_.block;
    // What came before the block's last barrier is before all that any of its threads, or who learns of one, does now.
    if (before.last.block != by_.block || before.last.barriers < by_.barriers) return;
    const bool other_warp = warp_of(before.last.thread) != warp_of(by_.thread);
    accesses.other_warps = before.other_warps || other_warp;
    if (other_warp) return;
    accesses.lanes |= before.lanes;
    accesses.last.time = std::max(by_.time, before.last.time);
  }

  [[noreturn]] void end(const Stamp& before, Kind kind_before) const {
    const auto accessor = [&](const Stamp& stamp) {
      return Accessor{stamp.thread, stamp.block, stamp.place, of_this_launch(stamp)};
    };
    report(kind_, data_, bytes_, region_.memory, accessor(by_), kind_before, accessor(before));
  }

  State& state_;
  const Region& region_;
  const void* data_;
  size_t bytes_;
  Kind kind_;
  Stamp by_;
  const uint32_t* heard_ = nullptr;  // by the thread's lane, of each lane
};

uint32_t next_time(WarpOrder& warp, uint32_t lane) { return warp.heard[lane][lane] = ++warp.time; }

}  // namespace

void watch(const void* begin, size_t bytes, Memory memory) {
  if (the_state == nullptr) the_state = new State();
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const size_t words = (bytes + kWord - 1) / kWord;
  the_state->regions.push_back({address, address + bytes, memory, reserve_cells(words), reserve_cells(words * kWord)});
}

void forget(const void* begin) {
  std::vector<Region>& regions = the_state->regions;
  const auto gone = std::find_if(regions.begin(), regions.end(), [&](const Region& region) {
    return region.begin == reinterpret_cast<uintptr_t>(begin);
  });
  if (gone == regions.end()) return;
  const size_t words = (gone->end - gone->begin + kWord - 1) / kWord;
  munmap(gone->words, words * sizeof(Cell));
  munmap(gone->bytes, words * kWord * sizeof(Cell));
  regions.erase(gone);
}

void note(const void* data, size_t bytes, Kind kind, const void* from) {
  if (the_state == nullptr) return;
  const auto address = reinterpret_cast<uintptr_t>(data);
  const Region* region = nullptr;
  for (const Region& one : the_state->regions)
    if (address - one.begin < one.end - one.begin) region = &one;
  if (region == nullptr) return;
  const Access access(*the_state, *region, data, bytes, kind, from);
  // What lies beyond the region is nobody's, and for the address sanitizer.
  const size_t end = std::min(address + bytes, region->end) - region->begin;
  for (size_t at = address - region->begin; at < end;) {
    const size_t first = at % kWord, count = std::min(kWord - first, end - at);
    Cell& word = region->words[at / kWord];
    if (count == kWord && !word.split) {
      access.visit(word, region->begin + at);
    } else {
      Cell* const parts = region->bytes + at / kWord * kWord;
      if (!word.split) {
        std::fill(parts, parts + kWord, word);
        word.split = true;
      }
      for (size_t i = first; i < first + count; ++i) access.visit(parts[i], region->begin + at - first);
      if (count == kWord && kind == Kind::kWrite) word = parts[0];
    }
    at += count;
  }
}

void begin_launch() {
  order::begin_stretch();
  if (the_state == nullptr) return;
  the_state->released.clear();
  the_state->other_blocks.clear();
}
void end_launch() { order::begin_stretch(); }

void begin_block(uint32_t block) {
  State& in = *the_state;
  in.block = block;
  in.barriers = 0;
  std::memset(in.warps, 0, sizeof in.warps);
  if (!in.any_seen) return;
  in.block_seen.clear();
  for (std::vector<Seen>& seen : in.seen) seen.clear();
  in.any_seen = false;
}

void barrier_met() {
  State& in = *the_state;
  ++in.barriers;
  if (!in.any_seen) return;
  for (std::vector<Seen>& seen : in.seen) {
    in.block_seen.insert(in.block_seen.end(), seen.begin(), seen.end());
    seen.clear();
  }
}

void warp_met(uint32_t warp_index, uint32_t mask) {
  State& in = *the_state;
  WarpOrder& warp = in.warps[warp_index];
  uint32_t joined[kLanes] = {};
  std::vector<Seen> all;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    for (uint32_t other = 0; other < kLanes; ++other) joined[other] = std::max(joined[other], warp.heard[lane][other]);
    if (!in.any_seen) continue;
    const std::vector<Seen>& seen = in.seen[warp_index * kLanes + lane];
    all.insert(all.end(), seen.begin(), seen.end());
  }
  ++warp.time;
  for (uint32_t lane = 0; lane < kLanes; ++lane)
    if ((mask >> lane & 1u) != 0) joined[lane] = warp.time;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    std::memcpy(warp.heard[lane], joined, sizeof joined);
    if (!all.empty()) in.seen[warp_index * kLanes + lane] = all;
  }
}

void release(const void* point) {
  State& in = *the_state;
  const uint32_t thread = current_thread->number, lane = current_thread->lane;
  WarpOrder& warp = in.warps[warp_of(thread)];
  std::vector<Seen>& released = in.released[point];
  // What comes after this has a later time.
  next_time(warp, lane);
  Seen own{in.block, in.barriers, warp_of(thread), {}};
  std::copy(warp.heard[lane], warp.heard[lane] + kLanes, own.heard);
  released.push_back(own);
  for (const std::vector<Seen>* known : {&in.block_seen, &in.seen[thread]})
    released.insert(released.end(), known->begin(), known->end());
}

void acquire(const void* point) {
  State& in = *the_state;
  const auto found = in.released.find(point);
  if (found == in.released.end()) return;
  std::vector<Seen>& seen = in.seen[current_thread->number];
  seen.insert(seen.end(), found->second.begin(), found->second.end());
  in.any_seen = true;
}

}  // namespace lowrank::emulator::races

#endif
