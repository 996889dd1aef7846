// lowrank_seeded_bugs: lists the bugs, a line "NAME TOOL…" each. lowrank_seeded_bugs NAME: runs the program with that bug, in
// every order of threads. lowrank_seeded_bugs NAME fixed: without it. Status 0: always the right result; 3: a wrong one or an
// error; 2: there is no such bug; a sanitizer's own otherwise.
#include <cstdio>
#include <cstring>
#include <numeric>

#include "seeded/bug.h"

namespace lowrank::test {

bool gives(BugKernel kernel, dim3 grid, dim3 block, const std::vector<int>& expected, size_t in_count, size_t shared_bytes) {
  std::vector<int> in(std::max<size_t>(in_count, 1));
  std::iota(in.begin(), in.end(), 0);
  const DeviceArray<int> device_in(in), out(expected.size());
  const BugParams params{out.data(), device_in.data(), static_cast<int>(expected.size())};
  return run_kernel(kernel, grid, block, params, shared_bytes) == cudaSuccess && out.read() == expected;
}

}  // namespace lowrank::test

int main(int argc, char** argv) {
  using namespace lowrank;
  using namespace lowrank::test;
  std::vector<Bug> bugs = block_bugs();
  for (const auto& more : {memory_bugs(), stream_bugs()}) bugs.insert(bugs.end(), more.begin(), more.end());
  if (argc < 2) {
    for (const Bug& bug : bugs) std::printf("%s %s\n", bug.name, bug.tools);
    return 0;
  }
  for (const Bug& bug : bugs) {
    if (std::strcmp(bug.name, argv[1]) != 0) continue;
    bool right = true;
    for_every_order([&] {
      right = bug.run(argc < 3) && right;
      if (!emulator::misuse().empty()) {
        std::fprintf(stderr, "%s: %s\n", bug.name, emulator::misuse().c_str());
        emulator::recover();
      }
    });
    if (!right) std::fprintf(stderr, "%s: a wrong result or an error\n", bug.name);
    return right ? 0 : 3;
  }
  std::fprintf(stderr, "Expected the name of a bug, received %s.\n", argv[1]);
  return 2;
}
