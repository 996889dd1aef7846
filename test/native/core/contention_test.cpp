#include "core/contention.h"

#include "check.h"

using namespace lowrank;
using namespace std::chrono_literals;

namespace {

struct Run {
  Contention contention;
  Contention::Clock::time_point now{};

  // One region of at most `wanted` threads, each of which sleeps for `part` of it at barriers. Returns the threads it had.
  int region(int wanted, double part) {
    const int threads = contention.threads(wanted, now);
    const Contention::Clock::duration length = 10ms;
    now += length;
    if (threads > 1)
      contention.observe(threads, length, std::chrono::duration_cast<Contention::Clock::duration>(length * part * (threads - 1)), now);
    return threads;
  }
};

}  // namespace

TEST("contention: threads that hardly wait stay as many") {
  Run run;
  for (int i = 0; i < 100; ++i) CHECK_EQ(run.region(4, 0.4), 4);
}

TEST("contention: one slow region changes nothing, two in a row halve the threads") {
  Run run;
  CHECK_EQ(run.region(4, 0.9), 4);
  CHECK_EQ(run.region(4, 0.0), 4);
  CHECK_EQ(run.region(4, 0.9), 4);
  CHECK_EQ(run.region(4, 0.9), 4);
  CHECK_EQ(run.region(4, 0.0), 2);
  CHECK_EQ(run.region(1, 0.0), 1);
}

TEST("contention: while it lasts, threads are halved down to one, and all are tried now and then, ever more rarely") {
  Run run;
  int most = 0, all = 0;
  for (int i = 0; i < 1000; ++i) {
    const int threads = run.region(8, 0.9);
    most = i < 10 ? most : std::max(most, threads);
    all += threads == 8;
    if (i == 10) CHECK_EQ(threads, 1);
  }
  CHECK_EQ(most, 8);
  CHECK(all >= 5 && all <= 12);
}

TEST("contention: when it is over, all threads are back within the pause") {
  Run run;
  for (int i = 0; i < 20; ++i) run.region(2, 0.9);
  CHECK_EQ(run.region(2, 0.9), 1);
  for (int i = 0; i < 60; ++i) run.region(2, 0.0);
  for (int i = 0; i < 100; ++i) CHECK_EQ(run.region(2, 0.0), 2);
  // And the next contention is judged afresh.
  CHECK_EQ(run.region(2, 0.9), 2);
  CHECK_EQ(run.region(2, 0.0), 2);
}
