// Repeated measurements of something that runs on the process's thread pool.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace lowrank::bench {

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Spread {
  double median, min, max;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

// Seconds of one call, each measurement being the mean over at least `least_seconds` of calls.
template <class Run>
Spread measure(Run run, int repeats = 7, double least_seconds = 0.05) {
  run();
  std::vector<double> values;
  for (int i = 0; i < repeats; ++i) {
    int calls = 0;
    const double begin = seconds_now();
    double now = begin;
    for (; now - begin < least_seconds; now = seconds_now(), ++calls) run();
    values.push_back((now - begin) / calls);
  }
  return spread_of(std::move(values));
}

}  // namespace lowrank::bench
