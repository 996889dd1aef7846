// Programs: ops in parts, chains beside each other. Built with the thread sanitizer, too.
#include "backend/program.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "check.h"

using namespace lowrank;

namespace {

constexpr int kThreads = 4;

// Adds `value` to the place, once a part.
struct AddArgs {
  std::atomic<int>* place;
  int value;
};
void add_value(const AddArgs& args, int, int) { *args.place += args.value; }

// to = the sum of the numbers in [from, from + count) and one more. None of them is atomic: what orders the chains orders them.
struct SumArgs {
  const unsigned* from;
  int count;
  unsigned* to;
};
void sum(const SumArgs& args, int part, int) {
  if (part != 0) return;
  unsigned all = 1;
  for (int i = 0; i < args.count; ++i) all += args.from[i];
  *args.to = all;
}

}  // namespace

TEST("program: an op runs in parts, a chain's ops whole, and a barrier lies between them") {
  for (const int threads : {1, 2, kThreads}) {
    for (const int parts_per_thread : {1, 3}) {
      Program program;
      program.set_parts_per_thread(parts_per_thread);
      std::atomic<int> before{0}, between{0}, after{0};
      program.add(add_value, {&before, 1});
      for (int chain = 0; chain < 10; ++chain) {
        program.begin_chain(0);
        program.add(add_value, {&between, 1});
        program.add(add_value, {&between, 100});
        program.end_chain();
      }
      program.add(add_value, {&after, 1});
      program.run(threads);
      CHECK(before.load() >= 1 && before.load() <= threads * parts_per_thread);
      CHECK_EQ(between.load(), 1010);
      CHECK_EQ(after.load(), before.load());
      program.run(threads);  // again, as it was recorded
      CHECK_EQ(between.load(), 2020);
    }
  }
}

TEST("program: a chain sees what the chains that it needs have left") {
  constexpr int kChains = 60;
  for (const int behind : {1, 2, 7}) {
    Program program;
    std::vector<unsigned> values(kChains, 0);
    for (int chain = 0; chain < kChains; ++chain) {
      const int needed = std::max(0, chain - behind + 1);
      program.begin_chain(static_cast<size_t>(needed));
      program.add(sum, {values.data(), needed, &values[static_cast<size_t>(chain)]});
      program.end_chain();
    }
    for (int round = 0; round < 50; ++round) {
      values.assign(kChains, 0);
      program.run(kThreads);
      int all = 0;
      for (int chain = 0; chain < kChains; ++chain) {
        const int needed = std::max(0, chain - behind + 1);
        unsigned want = 1;
        for (int i = 0; i < needed; ++i) want += values[static_cast<size_t>(i)];
        all += values[static_cast<size_t>(chain)] == want;
      }
      CHECK_EQ(all, kChains);
    }
  }
}

TEST("program: each thread has memory of its own, which a chain finds as it left it") {
  constexpr int kChains = 40;
  constexpr size_t kOwn = 16;
  Program program;
  std::vector<unsigned> own(kThreads * kOwn, 0), out(kChains, 0), in(kChains);
  program.set_thread_bytes(kOwn * sizeof(unsigned));
  for (int chain = 0; chain < kChains; ++chain) {
    in[static_cast<size_t>(chain)] = 10u * static_cast<unsigned>(chain);
    program.begin_chain(0);
    program.add_with_thread_scratch<&SumArgs::to>(sum, SumArgs{&in[static_cast<size_t>(chain)], 1, own.data()});
    program.add_with_thread_scratch<&SumArgs::from>(sum, SumArgs{own.data(), 1, &out[static_cast<size_t>(chain)]});
    program.end_chain();
  }
  for (int round = 0; round < 50; ++round) {
    out.assign(kChains, 0);
    program.run(kThreads);
    for (unsigned chain = 0; chain < kChains; ++chain) CHECK_EQ(out[chain], 10 * chain + 2);
  }
}
