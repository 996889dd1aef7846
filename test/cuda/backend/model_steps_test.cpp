// A whole small model on a device: which of its steps are graphs, and adapters that take turns in the device's memory.
#include <memory>
#include <vector>

#include "check.h"
#include "device/ops.h"
#include "device_under_test.h"
#include "engine/engine_case.h"
#include "lora/random_adapter.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr int32_t kPrompt = 12;
constexpr int32_t kTokens = 10;

struct ModelOnDevice {
  ModelOnDevice()
      : backend(device_under_test().device().plugin(), 0, device::device_ops()),
        engine(backend, "tiny-models/llama", Precision::kInt8, [] {
          EngineOptions options;
          options.threads = 1;
          options.context_length = 64;
          options.max_sequences = 4;
          options.kv_cache_bytes = size_t{1} << 20;
          return options;
        }()) {
    const BaseModel base = engine.engine->model().base(1);
    for (const int32_t rank : {3, 8, 5, 2}) adapters.push_back(RandomAdapter(base).pairs(rank).build(LoraDType::kBFloat16));
  }
  ~ModelOnDevice() { engine.engine->shut_down(); }

  // A prompt of its own with one of the adapters; null: with none.
  Request request(uint64_t id, const std::shared_ptr<const Adapter>& adapter) const {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < kPrompt; ++i) tokens.push_back((static_cast<int32_t>(id) * 7 + i * i) % 60 + 1);
    Request one = EngineCase::generate(id, kTokens, std::move(tokens));
    if (adapter != nullptr) one.adapters = {{adapter, 1.0f}};
    return one;
  }
  device::DeviceCounters counters() const { return backend.device().counters(); }

  device::DeviceBackend backend;
  EngineCase engine;
  std::vector<std::shared_ptr<const Adapter>> adapters;
};

}  // namespace

TEST("device/model: decodes are one graph, and a request with another adapter builds none") {
  ModelOnDevice model;
  uint64_t id = 1;
  const auto run = [&](size_t adapter) {
    const Outcome outcome = model.engine.run(model.request(id++, model.adapters[adapter]));
    CHECK(outcome.finish != Finish::kError);
    CHECK_EQ(outcome.tokens.size(), size_t{kTokens});
  };
  run(1);
  const device::DeviceCounters first = model.counters();
  CHECK_EQ(first.graphs_built, uint64_t{1});  // the decode
  CHECK(first.graphs_launched >= kTokens - 3);
  run(0);
  const device::DeviceCounters second = model.counters();
  CHECK(second.graphs_built <= 2);  // the prompt's length came again
  for (const size_t adapter : {2, 3, 0, 1}) run(adapter);
  const device::DeviceCounters last = model.counters();
  CHECK_EQ(last.graphs_built, second.graphs_built);
  CHECK_EQ(last.kernels, second.kernels);
  CHECK_EQ(last.graphs_launched - second.graphs_launched, last.steps - second.steps);
}

TEST("device/model: requests with many adapters over little memory give what they give over much") {
  const auto answers = [](bool little) {
    ModelOnDevice model;
    if (little) model.backend.factors().set_budget(model.adapters[1]->bytes + model.adapters[3]->bytes);
    std::vector<uint64_t> ids;
    for (uint64_t id = 1; id <= 6; ++id) {
      model.engine.engine->submit(model.request(id, id == 6 ? nullptr : model.adapters[id % 4]));
      ids.push_back(id);
    }
    std::vector<std::vector<int32_t>> tokens;
    for (const uint64_t id : ids) tokens.push_back(model.engine.reports.wait_for(id).tokens);
    const device::FactorStore::Counters counters = model.backend.factors().counters();
    CHECK_EQ(counters.evictions > 0, little);
    return tokens;
  };
  const std::vector<std::vector<int32_t>> much = answers(false);
  CHECK_EQ(much.front().size(), size_t{kTokens});
  CHECK(answers(true) == much);
}
