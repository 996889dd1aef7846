// The pool: every part runs once, barriers hold, callers take turns. Built with the thread sanitizer, too.
#include "core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "check.h"

using namespace lowrank;

namespace {

struct Counted {
  std::vector<std::atomic<int>> parts;
  std::atomic<int> of{0};
  explicit Counted(int count) : parts(static_cast<size_t>(count)) {}
};

// Runs `region`, which says how many parts it had, until it had all that it asked for: they are fewer while other processes hold
// the cores, for 2 s at most where a region does not wait at barriers.
template <class Region>
void until_all_parts(int asked, Region region) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  int parts = region();
  while (parts != asked && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    parts = region();
  }
  CHECK_EQ(parts, asked);
}

// Returns how many parts ran.
int expect_each_once(int asked) {
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
  return counted.of;
}

}  // namespace

TEST("thread pool: every part runs once, whatever their number") {
  for (int round = 0; round < 50; ++round)
    for (const int parts : {1, 2, 5, 3}) {
      until_all_parts(parts, [&] { return expect_each_once(parts); });
      if (lowrank::test::failures_in_case() > 0) return;
    }
}

TEST("thread pool: what is written before a barrier is seen behind it") {
  constexpr int kParts = 4;
  constexpr int kRounds = 200;
  struct Shared {
    // Not atomic: the barrier alone orders the accesses.
    int values[kRounds][kParts] = {};
    std::atomic<int> wrong{0};
    std::atomic<int> of{0};
  };
  until_all_parts(kParts, [] {
    Shared shared;
    ThreadPool::process().run(
        kParts,
        [](void* context, int part, int parts, Barrier& barrier) {
          Shared& all = *static_cast<Shared*>(context);
          all.of = parts;
          for (int round = 0; round < kRounds; ++round) {
            all.values[round][part] = round + part;
            barrier.wait();
            for (int other = 0; other < parts; ++other)
              if (all.values[round][other] != round + other) ++all.wrong;
          }
        },
        &shared);
    CHECK_EQ(shared.wrong.load(), 0);
    return shared.of.load();
  });
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
    until_all_parts(3, [] { return expect_each_once(3); });
    if (lowrank::test::failures_in_case() > 0) return;
  }
}

TEST("thread pool: the default number of threads is sensible") {
  const int threads = ThreadPool::default_threads();
  CHECK(threads >= 1);
  CHECK(threads <= 64);
  const unsigned all = std::thread::hardware_concurrency();
  CHECK(all == 0 || threads <= static_cast<int>(all));
}
