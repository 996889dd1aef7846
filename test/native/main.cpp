// lowrank_tests [FILTER]: runs every native test whose name contains FILTER.
#include <cstring>
#include <exception>

#include "check.h"

int main(int argc, char** argv) {
  using namespace lowrank::test;
  int passed = 0;
  int failed = 0;
  for (const Case& one : cases()) {
    if (argc > 1 && std::strstr(one.name, argv[1]) == nullptr) continue;
    failures_in_case() = 0;
    try {
      one.body();
    } catch (const std::exception& error) {
      fail(one.name, 0, std::string("unexpected exception: ") + error.what());
    }
    if (failures_in_case() == 0) {
      ++passed;
    } else {
      ++failed;
      std::fprintf(stderr, "FAILED %s (%d checks)\n", one.name, failures_in_case());
    }
  }
  std::printf("native: %d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
