// Native benchmarks: see kUsage.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "adapter.h"
#include "backend/backend.h"
#include "ceilings.h"
#include "matmul.h"
#include "profile.h"
#include "sampling.h"

using namespace lowrank;

namespace {
constexpr const char* kUsage =
    "Usage: lowrank_bench ceilings THREADS | matmul ROWS THREADS | adapter ROWS THREADS |\n"
    "       sampling VOCABULARY THREADS | profile MODEL ROWS CONTEXT THREADS [int8-kv] [decode] [adapters=N] [blocks=ROWS]\n"
    "       [runs=N]\n";
}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 3 && std::strcmp(arguments[1], "ceilings") == 0) {
      const bench::Ceilings ceilings = bench::measure_ceilings(std::atoi(arguments[2]), cpu_backend().instruction_set());
      std::printf("{\"read_gb_per_s\": %.2f, \"int8_gop_per_s\": %.1f, \"float_gop_per_s\": %.1f}\n", ceilings.read_gb_per_s,
                  ceilings.int8_gop_per_s, ceilings.float_gop_per_s);
      return 0;
    }
    if (count == 4 && std::strcmp(arguments[1], "matmul") == 0) {
      std::printf("{\"gop_per_s\": %.1f}\n", bench::matmul_gop_per_s(std::atoi(arguments[2]), std::atoi(arguments[3])));
      return 0;
    }
    if (count == 4 && std::strcmp(arguments[1], "adapter") == 0) {
      const bench::AdapterCost cost = bench::measure_adapter_cost(std::atoi(arguments[2]), std::atoi(arguments[3]));
      std::printf("{\"none_us\": %.2f, \"fused_us\": %.2f, \"unfused_us\": %.2f}\n", cost.none_us, cost.fused_us, cost.unfused_us);
      return 0;
    }
    if (count == 4 && std::strcmp(arguments[1], "sampling") == 0 && std::atoi(arguments[2]) > 0) {
      bench::measure_sampling(std::atoi(arguments[2]), std::atoi(arguments[3]));
      return 0;
    }
    if (count >= 6 && std::strcmp(arguments[1], "profile") == 0) {
      bench::ProfileOptions options = {std::atoi(arguments[3]), std::atoi(arguments[4]), std::atoi(arguments[5])};
      bool known = true;
      for (int i = 6; i < count; ++i) {
        const bool int8_kv = std::strcmp(arguments[i], "int8-kv") == 0;
        const bool decode = std::strcmp(arguments[i], "decode") == 0;
        options.int8_kv = options.int8_kv || int8_kv;
        options.decode = options.decode || decode;
        const bool adapters = std::sscanf(arguments[i], "adapters=%d", &options.adapters) == 1;
        const bool blocks = std::sscanf(arguments[i], "blocks=%d", &options.blocks) == 1;
        const bool runs = std::sscanf(arguments[i], "runs=%d", &options.runs) == 1 && options.runs > 0;
        known = known && (int8_kv || decode || adapters || blocks || runs);
      }
      if (known) {
        bench::profile(arguments[2], options);
        return 0;
      }
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lowrank_bench: %s\n", error.what());
    return 1;
  }
  std::fputs(kUsage, stderr);
  return 2;
}
