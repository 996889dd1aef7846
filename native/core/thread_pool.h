// One pool of threads for the whole process: every model's steps run on it, one parallel region at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/contention.h"

namespace lowrank {

// A barrier for the `parts` threads of one region. It spins briefly, then sleeps, so that a thread that was
// descheduled (Node's own threads want the cores, too) does not keep the others burning. Where there are more parts than
// processors it sleeps at once: what it waits for wants its core.
class Barrier {
 public:
  explicit Barrier(int parts);
  void wait();
  // Until `flag` is not 0, in the same way. Whoever sets it must notify it.
  void wait_for(const std::atomic<uint32_t>& flag);
  // By all threads, in sum. Spinning does not count.
  std::chrono::steady_clock::duration slept() const { return std::chrono::steady_clock::duration(slept_.load(std::memory_order_relaxed)); }

 private:
  void wait_while(const std::atomic<uint32_t>& value, uint32_t old);

  const int parts_;
  const int spins_;
  std::atomic<int> arrived_{0};
  std::atomic<uint32_t> generation_{0};
  std::atomic<std::chrono::steady_clock::rep> slept_{0};
};

class ThreadPool {
 public:
  // A region's body: called once for each part in [0, parts), each on its own thread; part 0 on the caller's.
  using Body = void (*)(void* context, int part, int parts, Barrier& barrier);

  // The one pool. It is never destroyed, as backends are not: at the end of the process, other threads may still be in a step. A library
  // that holds it must stay loaded.
  static ThreadPool& process();
  static int default_threads();  // physical cores within the affinity mask and the cgroup's CPU quota, at least 1

  // Runs `body` on at most `wanted` threads, fewer while other processes hold the cores (contention.h), and returns when all
  // have finished. Regions of several callers take turns. `body` must not throw.
  void run(int wanted, Body body, void* context);

 private:
  ThreadPool() = default;
  void run_parts(int parts, Body body, void* context, Barrier& barrier);
  void grow(int workers);
  void work(int index);

  std::mutex region_;  // held for the length of one region of several threads
  Contention contention_;  // guarded by region_
  std::mutex mutex_;   // guards the fields below
  std::condition_variable wake_;
  std::vector<std::thread> workers_;  // never joined
  std::atomic<uint64_t> ticket_{0};  // counts regions; a worker runs each ticket once
  std::atomic<int> running_{0};
  int sleepers_ = 0;
  int parts_ = 0;
  Body body_ = nullptr;
  void* context_ = nullptr;
  Barrier* barrier_ = nullptr;
};

}  // namespace lowrank
