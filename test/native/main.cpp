// lowrank_tests [FILTER]: runs every native test whose name contains FILTER, and names those that take long. Status 1: one failed,
// or none ran.
#include <chrono>
#include <cstring>
#include <exception>

#include "check.h"

constexpr double kLongSeconds = 3;

int main(int argc, char** argv) {
  using namespace lowrank::test;
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  for (const Case& one : cases()) {
    if (argc > 1 && std::strstr(one.name, argv[1]) == nullptr) continue;
    failures_in_case() = 0;
    skip_reason().clear();
    const auto began = std::chrono::steady_clock::now();
    try {
      one.body();
    } catch (const std::exception& error) {
      fail(one.name, 0, std::string("unexpected exception: ") + error.what());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    if (took.count() > kLongSeconds) std::printf("%.1f s: %s\n", took.count(), one.name);
    if (failures_in_case() > 0) {
      ++failed;
      std::fprintf(stderr, "FAILED %s (%d checks)\n", one.name, failures_in_case());
    } else if (!skip_reason().empty()) {
      ++skipped;
      std::printf("SKIPPED %s: %s\n", one.name, skip_reason().c_str());
    } else {
      ++passed;
    }
  }
  std::printf("native: %d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 && passed > 0 ? 0 : 1;
}
