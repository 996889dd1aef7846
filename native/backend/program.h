// The ops of one step, recorded by the model and then run as one parallel region with a barrier after each op.
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
    static_assert(std::is_trivially_copyable_v<Args>);
    Args* copy = allocate<Args>(1);
    std::memcpy(static_cast<void*>(copy), &args, sizeof args);
    steps_.push_back({[](const void* step_op, const void* step_args, int part, int parts) {
                        reinterpret_cast<Op<Args>>(const_cast<void*>(step_op))(*static_cast<const Args*>(step_args), part, parts);
                      },
                      reinterpret_cast<const void*>(op), copy});
  }

  template <class T>
  T* allocate(size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
    return static_cast<T*>(allocate_bytes(count * sizeof(T)));
  }

  struct Step {
    void (*call)(const void* op, const void* args, int part, int parts);
    const void* op;
    const void* args;
  };

  // Cuts each op into so many parts a thread, which the threads take as they get free: a thread that the system holds up
  // keeps the others waiting for one part alone. Costs an atomic addition a part. 1, as after `clear`: part i on thread i.
  void set_parts_per_thread(int parts) { parts_per_thread_ = parts; }

  void run(int threads);
  void run_step(size_t index, int threads);  // one op alone: for profiling
  void clear();
  size_t size() const { return steps_.size(); }
  const Step& step(size_t index) const { return steps_[index]; }

 private:
  static constexpr size_t kChunk = size_t{1} << 16;
  void run_shared(int threads);
  void* allocate_bytes(size_t bytes);

  std::vector<Step> steps_;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;  // of kChunk bytes each
  std::vector<std::unique_ptr<uint8_t[]>> large_;   // blocks that fit no chunk
  std::unique_ptr<std::atomic<int>[]> taken_;       // of each step, in a shared run
  size_t taken_size_ = 0;
  int parts_per_thread_ = 1;
  size_t chunk_ = 0;                                // the chunk in use
  size_t used_ = 0;                                 // bytes of it in use
};

}  // namespace lowrank
