// Bugs planted on purpose, each next to the same program without it, and the tools that must find them.
#pragma once

#include <vector>

#include "emulation/kernel_case.h"

namespace lowrank::test {

struct Bug {
  const char* name;  // that of its kernel or function, which reports name, too
  // Which of them must catch it: "result" (a wrong result or an error in some order of threads, with lazy or eager copies),
  // "thread" (the detector of data races), "address" (the address and undefined-behaviour sanitizers). Separated by spaces.
  const char* tools;
  // Runs the program, with the bug or without, and tells whether its result was right.
  bool (*run)(bool bug);
};

std::vector<Bug> block_bugs();
std::vector<Bug> memory_bugs();
std::vector<Bug> stream_bugs();

struct BugParams {
  int* out;
  const int* in;
  int count;
};
using BugKernel = void (*)(BugParams);

// Runs a kernel with `in` = 0, 1, 2, … of `in_count` elements, and compares what it leaves in `out`, which holds zeros at
// first.
bool gives(BugKernel kernel, dim3 grid, dim3 block, const std::vector<int>& expected, size_t in_count = 0,
           size_t shared_bytes = 0);

}  // namespace lowrank::test
