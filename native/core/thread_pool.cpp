#include "core/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lowrank {
namespace {

// Long enough to cover the gap between two steps of a decode loop (sampling, the message to JavaScript), short
// enough that an idle engine uses no processor.
constexpr auto kSpinBeforeSleep = std::chrono::microseconds(200);
// Between two ops of a step: some 80 us, then the system is asked to wake us. Yielding instead would hand a whole time
// slice to whoever else wants the core.
constexpr int kSpinsAtBarrier = 6000;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Physical cores among those this process may run on; 0 where the system does not tell.
int physical_cores() {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string siblings;
    std::ifstream file(topology + "thread_siblings_list");
    if (!(file >> siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
#else
  return 0;
#endif
}

// CPUs that the cgroup's quota allows, rounded up; 0 where there is no limit.
int cgroup_cpus() {
#if defined(__linux__)
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period) {
    if (quota == "max" || period <= 0) return 0;
    return static_cast<int>((std::strtod(quota.c_str(), nullptr) + period - 1) / period);
  }
  std::ifstream quota_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double value = 0;
  if (quota_v1 >> value && period_v1 >> period && value > 0 && period > 0)
    return static_cast<int>((value + period - 1) / period);
#endif
  return 0;
}

}  // namespace

Barrier::Barrier(int parts)
    : parts_(parts), spins_(static_cast<unsigned>(parts) <= std::thread::hardware_concurrency() ? kSpinsAtBarrier : 0) {}

void Barrier::wait() {
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == parts_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    generation_.store(generation + 1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  wait_while(generation_, generation);
}

void Barrier::wait_for(const std::atomic<uint32_t>& flag) { wait_while(flag, 0); }

void Barrier::wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int spins = 0; spins < spins_; ++spins) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  const auto begin = std::chrono::steady_clock::now();
  value.wait(old, std::memory_order_acquire);
  slept_.fetch_add((std::chrono::steady_clock::now() - begin).count(), std::memory_order_relaxed);
}

ThreadPool& ThreadPool::process() {
  static ThreadPool& pool = *new ThreadPool;
  return pool;
}

int ThreadPool::default_threads() {
  int threads = physical_cores();
  if (threads == 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  const int quota = cgroup_cpus();
  if (quota > 0) threads = std::min(threads, quota);
  return std::clamp(threads, 1, 64);
}

void ThreadPool::grow(int workers) {
  while (static_cast<int>(workers_.size()) < workers) {
    const int index = static_cast<int>(workers_.size());
    workers_.emplace_back([this, index] { work(index); });
  }
}

void ThreadPool::run(int wanted, Body body, void* context) {
  std::unique_lock<std::mutex> region(region_, std::defer_lock);
  if (wanted > 1) region.lock();
  const auto begin = std::chrono::steady_clock::now();
  const int parts = wanted > 1 ? contention_.threads(wanted, begin) : 1;
  Barrier barrier(parts);
  if (parts <= 1) {
    if (wanted > 1) region.unlock();
    body(context, 0, 1, barrier);
    return;
  }
  run_parts(parts, body, context, barrier);
  // More threads than cores always sleep.
  if (static_cast<unsigned>(parts) > std::thread::hardware_concurrency()) return;
  const auto end = std::chrono::steady_clock::now();
  contention_.observe(parts, end - begin, barrier.slept(), end);
}

void ThreadPool::run_parts(int parts, Body body, void* context, Barrier& barrier) {
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    grow(parts - 1);
    parts_ = parts;
    body_ = body;
    context_ = context;
    barrier_ = &barrier;
    running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    ticket_.fetch_add(1, std::memory_order_release);
    wake = sleepers_ > 0;
  }
  if (wake) wake_.notify_all();
  body(context, 0, parts, barrier);
  for (int spins = 0; spins < kSpinsAtBarrier; ++spins) {
    if (running_.load(std::memory_order_acquire) == 0) return;
    pause();
  }
  for (int running = running_.load(std::memory_order_acquire); running != 0; running = running_.load(std::memory_order_acquire))
    running_.wait(running, std::memory_order_acquire);
}

void ThreadPool::work(int index) {
  // A worker that is grown for a region must see that region's ticket as new.
  uint64_t seen = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    seen = ticket_.load(std::memory_order_relaxed) - (running_.load(std::memory_order_relaxed) > 0 ? 1 : 0);
  }
  for (;;) {
    const auto deadline = std::chrono::steady_clock::now() + kSpinBeforeSleep;
    while (ticket_.load(std::memory_order_acquire) == seen) {
      for (int i = 0; i < 64; ++i) pause();
      if (std::chrono::steady_clock::now() > deadline) {
        std::unique_lock<std::mutex> lock(mutex_);
        ++sleepers_;
        wake_.wait(lock, [&] { return ticket_.load(std::memory_order_relaxed) != seen; });
        --sleepers_;
        break;
      }
    }
    seen = ticket_.load(std::memory_order_acquire);
    if (index + 1 < parts_) body_(context_, index + 1, parts_, *barrier_);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
  }
}

}  // namespace lowrank
