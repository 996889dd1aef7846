// The pool: every part runs once, barriers hold, callers take turns. Built with the thread sanitizer, too.
#include "core/thread_pool.h"

#include <atomic>
#include <thread>

#include "check.h"

using namespace lowrank;

namespace {

struct Counted {
  std::vector<std::atomic<int>> parts;
  std::atomic<int> of{0};
  explicit Counted(int count) : parts(static_cast<size_t>(count)) {}
};

// Of the parts that ran: fewer than asked for where other processes hold the cores.
void expect_each_once(int asked) {
  Counted counted(asked);
  ThreadPool::process().run(
      asked,
      [](void* context, int part, int of, Barrier&) {
        Counted& seen = *static_cast<Counted*>(context);
        ++seen.parts[static_cast<size_t>(part)];
        seen.of = of;
      },
      &counted);
  CHECK(counted.of >= 1 && counted.of <= asked);
  for (int part = 0; part < asked; ++part) CHECK_EQ(counted.parts[static_cast<size_t>(part)].load(), part < counted.of ? 1 : 0);
}

}  // namespace

TEST("thread pool: every part runs once, whatever their number") {
  for (int round = 0; round < 50; ++round)
    for (const int parts : {1, 2, 5, 3}) expect_each_once(parts);
}

TEST("thread pool: what is written before a barrier is seen behind it") {
  constexpr int kParts = 4;
  constexpr int kRounds = 200;
  struct Shared {
    // Not atomic: the barrier alone orders the accesses.
    int values[kRounds][kParts] = {};
    std::atomic<int> wrong{0};
  } shared;
  ThreadPool::process().run(
      kParts,
      [](void* context, int part, int parts, Barrier& barrier) {
        Shared& all = *static_cast<Shared*>(context);
        for (int round = 0; round < kRounds; ++round) {
          all.values[round][part] = round + part;
          barrier.wait();
          for (int other = 0; other < parts; ++other)
            if (all.values[round][other] != round + other) ++all.wrong;
        }
      },
      &shared);
  CHECK_EQ(shared.wrong.load(), 0);
}

TEST("thread pool: regions of several callers do not overlap") {
  static std::atomic<int> inside{0};
  static std::atomic<int> overlaps{0};
  static std::atomic<int> regions{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([] {
      for (int round = 0; round < 100; ++round)
        ThreadPool::process().run(
            3,
            [](void*, int part, int, Barrier& barrier) {
              if (part == 0 && inside.fetch_add(1) != 0) ++overlaps;
              barrier.wait();
              if (part == 0) {
                ++regions;
                --inside;
              }
            },
            nullptr);
    });
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(overlaps.load(), 0);
  CHECK_EQ(regions.load(), 400);
}

TEST("thread pool: workers wake after a pause") {
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    expect_each_once(3);
  }
}

TEST("thread pool: the default number of threads is sensible") {
  const int threads = ThreadPool::default_threads();
  CHECK(threads >= 1);
  CHECK(threads <= 64);
  const unsigned all = std::thread::hardware_concurrency();
  CHECK(all == 0 || threads <= static_cast<int>(all));
}
