// lowrank_cuda_layers MODEL TOKENS RANK: every op of a prompt of TOKENS tokens and of the next token, on a CUDA device (or the
// EMULATED one) and on the CPU, each on the same input. Half of the rows run with a random adapter of rank RANK (0: none do).
// LOWRANK_CUDA_PLUGIN names the plugin; the emulated one otherwise. Exits with 1 where an op is outside its bounds.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>

#include "core/thread_pool.h"
#include "device/ops.h"
#include "device/plugin_loader.h"
#include "layers/step_comparison.h"
#include "lora/random_adapter.h"

namespace lowrank::test {
namespace {

int run(const std::string& path, int32_t tokens, int32_t rank) {
  std::string why;
  const device::PluginTable& plugin = device::load_plugin(device::plugin_path(LOWRANK_EMULATED_PLUGIN, why));
  const device::DeviceBackend device(plugin, 0, device::device_ops());
  std::printf("%s, %s\n", device.device().description().name, device.instruction_set());

  WeightsOptions options;
  options.threads = ThreadPool::default_threads();
  const auto cpu = Model::load(path, cpu_backend(), options);
  const auto other = Model::load(path, device, options);

  const auto composed = [&](const Model& model) -> std::unique_ptr<Composition> {
    if (rank == 0) return nullptr;
    const BaseModel base = model.base(options.threads);
    return std::make_unique<Composition>(
        std::vector<AppliedAdapter>{{RandomAdapter(base).pairs(rank).build(base.lora_dtype), 0.05f}}, base);
  };
  const auto on_cpu = composed(*cpu), on_device = composed(*other);

  StepComparison comparison(*cpu, *other, device, tokens, pages_for(tokens + 1), options.threads);
  const auto step = [&](int32_t begin, int32_t count) {
    const auto batch = [&](const Composition* composition) {
      Batch out;
      for (int32_t i = begin; i < begin + count; ++i) {
        out.tokens.push_back((1000 + 37 * i) % cpu->config().vocabulary_size);
        out.positions.push_back(i);
        out.block_tables.push_back(comparison.blocks().pages());
      }
      if (composition != nullptr) out.segments.push_back({count / 2, count, composition});
      return out;
    };
    comparison.run(batch(on_cpu.get()), batch(on_device.get()), {count - 1});
  };
  step(0, tokens);
  step(tokens, 1);

  bool passed = true;
  std::printf("%-26s %5s  %-10s %s\n", "op", "runs", "worst", "where");
  for (const auto& [name, one] : comparison.differences()) {
    passed = passed && one.worst <= 1;
    std::printf("%-26s %5d  %7.3f of the bound  %s", name.c_str(), one.ops, one.worst, one.worst_at.c_str());
    if (one.flips > 0) std::printf(", %lld int8 values off by one", static_cast<long long>(one.flips));
    std::printf("%s\n", one.worst <= 1 ? "" : "  FAIL");
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace lowrank::test

int main(int argc, char** argv) {
  const auto number = [&](int index) { return std::strtol(argv[index], nullptr, 10); };
  if (argc != 4 || number(2) < 1 || number(2) > 4096 || number(3) < 0 || number(3) > 1024) {
    std::fprintf(stderr, "lowrank_cuda_layers MODEL TOKENS RANK\n");
    return 2;
  }
  try {
    return lowrank::test::run(argv[1], static_cast<int32_t>(number(2)), static_cast<int32_t>(number(3)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
