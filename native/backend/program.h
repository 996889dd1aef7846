// The ops of one step, recorded by the model and then run as one parallel region: an op is cut into parts, with a barrier after
// it, or belongs to a chain of ops that one thread runs, one after the other, beside the others' chains.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/thread_pool.h"
#include "ops/op_table.h"

namespace lowrank {

// Recording costs a copy of the arguments; the arrays that they point to must live until `run` returns.
// `allocate` gives such memory for small descriptors; it is all freed by `clear`.
class Program {
 public:
  template <class Args>
  void add(Op<Args> op, const Args& args) {
    add_step(op, args, [](const void* step_op, const void* step_args, int part, int parts, size_t) {
      reinterpret_cast<Op<Args>>(const_cast<void*>(step_op))(*static_cast<const Args*>(step_args), part, parts);
    });
  }

  // An op whose pointer `Field`, in a chain, is rebased to the executing thread's scratch: the threads' scratches of `set_thread_bytes`
  // lie one after the other, the first one where `Field` points. What a chain leaves there, only the same chain finds there.
  template <auto Field, class Args>
  void add_with_thread_scratch(Op<Args> op, const Args& args) {
    add_step(op, args, [](const void* step_op, const void* step_args, int part, int parts, size_t scratch_offset) {
      Args rebased = *static_cast<const Args*>(step_args);
      rebased.*Field += scratch_offset / sizeof *(rebased.*Field);
      reinterpret_cast<Op<Args>>(const_cast<void*>(step_op))(rebased, part, parts);
    });
  }
  void set_thread_bytes(size_t bytes) { thread_bytes_ = bytes; }

  // The ops added from here to `end_chain` run one after the other on one thread. Chains that follow each other without an op
  // in between are taken in order, by whichever thread is free, and a chain begins when the first `needed` of them are complete:
  // those are before it, so that nobody waits for ever. A barrier follows the last.
  void begin_chain(size_t needed);
  void end_chain() { in_chain_ = false; }

  template <class T>
  T* allocate(size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
    return static_cast<T*>(allocate_bytes(count * sizeof(T)));
  }

  struct Step {
    void (*call)(const void* op, const void* args, int part, int parts, size_t scratch_offset);
    const void* op;
    const void* args;
    void run(int part, int parts, size_t scratch_offset = 0) const { call(op, args, part, parts, scratch_offset); }
  };

  // Cuts each op into so many parts a thread, which the threads take as they get free: a thread that the system holds up
  // keeps the others waiting for one part alone. Costs an atomic addition a part. 1, as after `clear`: part i on thread i.
  void set_parts_per_thread(int parts) { parts_per_thread_ = parts; }

  void run(int threads);
  void run_step(size_t index, int threads);  // one op alone, cut into parts: for profiling
  void clear();
  size_t size() const { return steps_.size(); }
  const Step& step(size_t index) const { return steps_[index]; }

 private:
  // What lies between two barriers: one op, or chains.
  struct Section {
    size_t first;   // of the steps, or of the chains
    size_t chains;  // 0: an op
  };
  struct Chain {
    size_t begin, end;  // of the steps
    size_t needed;      // of the section's chains
  };

  static constexpr size_t kChunk = size_t{1} << 16;
  void work(int part, int running, Barrier& barrier);
  void run_op(const Step& step, std::atomic<int>& taken, int part, int running);
  void run_chains(const Section& section, std::atomic<int>& taken, int thread, Barrier& barrier);
  void* allocate_bytes(size_t bytes);
  template <class Args>
  void add_step(Op<Args> op, const Args& args, void (*call)(const void*, const void*, int, int, size_t)) {
    static_assert(std::is_trivially_copyable_v<Args>);
    Args* copy = allocate<Args>(1);
    std::memcpy(static_cast<void*>(copy), &args, sizeof args);
    steps_.push_back({call, reinterpret_cast<const void*>(op), copy});
    if (in_chain_)
      chains_.back().end = steps_.size();
    else
      sections_.push_back({steps_.size() - 1, 0});
  }

  std::vector<Step> steps_;
  std::vector<Section> sections_;
  std::vector<Chain> chains_;
  bool in_chain_ = false;
  size_t thread_bytes_ = 0;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;  // of kChunk bytes each
  std::vector<std::unique_ptr<uint8_t[]>> large_;   // blocks that fit no chunk
  std::vector<std::atomic<int>> taken_;             // of each section: parts or chains that threads took
  std::vector<std::atomic<uint32_t>> complete_;     // of each chain
  int parts_per_thread_ = 1;
  size_t chunk_ = 0;                                // the chunk in use
  size_t used_ = 0;                                 // bytes of it in use
};

}  // namespace lowrank
