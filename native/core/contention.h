// How many threads a region of much work in short steps should have while other processes want the cores, too.
//
// Threads that meet at a barrier after each op wait for the one whose core was taken away, and that costs a time slice each
// time: with two busy neighbours on two cores a step on two threads took 3.5 times as long as on one. So a region whose
// threads have mostly slept at barriers is followed by regions of half the threads, and all are tried again after a while.
#pragma once

#include <algorithm>
#include <chrono>

namespace lowrank {

class Contention {
 public:
  using Clock = std::chrono::steady_clock;

  // The threads for a region that begins now, of `wanted`.
  int threads(int wanted, Clock::time_point now) const { return now < until_ ? std::min(wanted, most_) : wanted; }

  // What a region of `threads` threads, at least two, was like: its length, and what its threads slept at barriers, in sum.
  void observe(int threads, Clock::duration length, Clock::duration slept, Clock::time_point now) {
    const bool contended = slept > length * (threads - 1) / 2;
    if (!contended) {
      in_a_row_ = 0;
      if (now >= until_) pause_ = kFirstPause;
      return;
    }
    // One step may be anybody's bad luck, but not the one after a pause.
    if (++in_a_row_ < (pause_ > kFirstPause ? 1 : 2)) return;
    in_a_row_ = 0;
    if (now >= until_) {
      until_ = now + pause_;
      pause_ = std::min(2 * pause_, kLongestPause);
    }
    most_ = std::max(1, threads / 2);
  }

 private:
  static constexpr Clock::duration kFirstPause = std::chrono::milliseconds(250);
  static constexpr Clock::duration kLongestPause = std::chrono::seconds(2);

  int in_a_row_ = 0;
  int most_ = 1;
  Clock::duration pause_ = kFirstPause;
  Clock::time_point until_{};
};

}  // namespace lowrank
