#include "device/factor_store.h"

#include <memory>
#include <string>
#include <vector>

#include "backend/shrink_step.h"
#include "check.h"
#include "emulated_settings.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

constexpr size_t kFactorBytes = ShrinkStep::kRank * ShrinkStep::kCols * 2;
constexpr size_t kAdapterBytes = 3 * kFactorBytes;

// An adapter of three factors, joined.
struct Adapter {
  Adapter(const Backend& backend, uint64_t seed) {
    for (uint64_t i = 0; i < 3; ++i) factors.push_back(random_factor(backend, seed * 3 + i));
    std::vector<LoraFactor*> all;
    for (const auto& factor : factors) all.push_back(factor.get());
    backend.join(all);
  }
  std::vector<std::unique_ptr<LoraFactor>> factors;
};

struct Bench {
  explicit Bench(size_t budget, size_t adapter_count = 0)
      : backend(device_under_test().device().plugin(), 0, device::device_ops()), step(backend, 2) {
    backend.factors().set_budget(budget);
    for (size_t i = 0; i < adapter_count; ++i) adapters.push_back(std::make_unique<Adapter>(backend, i));
  }
  // The results of each adapter's factors, one after the other, the adapters in this order.
  std::vector<float> run(const std::vector<size_t>& order) {
    std::vector<float> all;
    for (const size_t i : order)
      for (const auto& factor : adapters[i]->factors) {
        const std::vector<float> h = step.run(*factor, 1.0f);
        all.insert(all.end(), h.begin(), h.end());
      }
    return all;
  }
  device::FactorStore::Counters counters() { return backend.factors().counters(); }

  device::DeviceBackend backend;
  ShrinkStep step;
  std::vector<std::unique_ptr<Adapter>> adapters;
};

}  // namespace

TEST("device/factor_store: many adapters over a small budget give what they give over a large one") {
  constexpr size_t kAdapters = 9;
  Bench large(size_t{64} << 20, kAdapters), small(3 * kAdapterBytes, kAdapters);
  Random random(3);
  std::vector<size_t> order;
  for (int i = 0; i < 40; ++i) order.push_back(static_cast<size_t>(random.integer(0, kAdapters - 1)));
  expect_same_bits("paged", small.run(order), large.run(order));
  CHECK_EQ(large.counters().evictions, uint64_t{0});
  CHECK_EQ(large.counters().uploads, uint64_t{kAdapters});
  CHECK(small.counters().evictions > kAdapters);
  CHECK(small.counters().resident_bytes <= 3 * kAdapterBytes);
}

TEST("device/factor_store: the least recently used goes first, and what is there is not copied again") {
  Bench bench(3 * kAdapterBytes, 4);
  bench.run({0, 1, 2});
  CHECK_EQ(bench.counters().uploads, uint64_t{3});
  bench.run({0, 1, 2, 0});
  CHECK_EQ(bench.counters().uploads, uint64_t{3});
  bench.run({3});  // in place of 1
  CHECK_EQ(bench.counters().evictions, uint64_t{1});
  bench.run({0, 2, 3});
  CHECK_EQ(bench.counters().uploads, uint64_t{4});
  bench.run({1});
  CHECK_EQ(bench.counters().uploads, uint64_t{5});
}

TEST("device/factor_store: a step that needs more than the budget has it, and gives it back") {
  Bench bench(kAdapterBytes, 3);
  const std::vector<float> alone = bench.run({0, 1, 2});
  std::vector<std::vector<float>> together;
  // All three in one step, each with a shrink of its own.
  std::vector<std::unique_ptr<ShrinkStep>> steps;
  for (int i = 0; i < 3; ++i) steps.push_back(std::make_unique<ShrinkStep>(bench.backend, 2));
  std::vector<const uint8_t*> places;
  bench.backend.run_step([&] {
    for (size_t i = 0; i < 3; ++i) {
      steps[i]->record(*bench.adapters[i]->factors[0], 1.0f);
      places.push_back(static_cast<const uint8_t*>(device::view_of(*bench.adapters[i]->factors[0]).data));
    }
    for (size_t i = 0; i < 3; ++i) CHECK(device::view_of(*bench.adapters[i]->factors[0]).data == places[i]);
  });
  CHECK(places[0] != places[1] && places[1] != places[2]);
  CHECK_EQ(bench.counters().resident_bytes, kAdapterBytes);
  expect_same_bits("after it", bench.run({0, 1, 2}), alone);
}

TEST("device/factor_store: an adapter larger than the budget is refused when it is joined") {
  Bench bench(2 * kFactorBytes);
  CHECK_THROWS_CODE(Adapter(bench.backend, 1), ErrorCode::kOutOfMemory);
  bench.backend.factors().set_budget(kAdapterBytes);
  bench.adapters.push_back(std::make_unique<Adapter>(bench.backend, 1));
  CHECK(!bench.run({0}).empty());
}

TEST("device/factor_store: adapters that go give their memory back, used or not") {
  Bench bench(size_t{64} << 20, 3);
  const size_t used = bench.backend.device().memory().used_bytes;
  bench.run({0, 1});
  CHECK(bench.backend.device().memory().used_bytes >= used + 2 * kAdapterBytes);
  bench.adapters.clear();
  CHECK_EQ(bench.counters().resident_bytes, size_t{0});
  bench.adapters.push_back(std::make_unique<Adapter>(bench.backend, 5));
  bench.run({0});
  bench.backend.factors().set_budget(0);
  CHECK_EQ(bench.counters().resident_bytes, size_t{0});
}

TEST("device/factor_store: where the device has no room, others make it") {
  if (!emulated()) return;  // the device's memory is made small
  // Large enough that a few of them fill what is left.
  constexpr int32_t kRank = 64, kIn = 16384;  // 2 MiB
  Bench bench(size_t{1} << 30);
  bench.run({});
  const std::vector<float> a(static_cast<size_t>(kRank) * kIn, 0.5f);
  std::vector<std::unique_ptr<LoraFactor>> factors;
  for (int i = 0; i < 6; ++i) factors.push_back(bench.backend.pack_lora_a(a.data(), kRank, kIn, LoraDType::kBFloat16));
  const auto use = [&](const LoraFactor& factor) {
    bench.backend.run_step([&] { CHECK(device::view_of(factor).data != nullptr); });
  };
  EmulatedSettings setting;
  const device::DeviceMemory memory = bench.backend.device().memory();
  setting->memory_bytes = memory.total_bytes - memory.free_bytes + (size_t{5} << 20);
  for (const auto& factor : factors) use(*factor);
  CHECK_EQ(bench.counters().uploads, uint64_t{6});
  CHECK_EQ(bench.counters().evictions, uint64_t{4});
  // A step that needs three at once cannot be had.
  CHECK_THROWS_CODE(bench.backend.run_step([&] {
    for (int i = 0; i < 3; ++i) device::view_of(*factors[static_cast<size_t>(i)]);
  }),
                    ErrorCode::kOutOfMemory);
  use(*factors[0]);
}
