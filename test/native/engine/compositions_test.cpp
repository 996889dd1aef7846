// What requests run with is built apart from the steps: nobody else waits for it.
#include "engine/compositions.h"

#include <condition_variable>
#include <mutex>

#include "backend/guarded_backend.h"
#include "check.h"
#include "engine_case.h"
#include "lora/random_adapter.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

// Who passes waits while it is closed.
class Gate {
 public:
  void close() { set(false); }
  void open() { set(true); }
  void pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait_for_arrivals(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  int arrived() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return arrived_;
  }

 private:
  void set(bool open) {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = open;
    arrived_ = 0;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int arrived_ = 0;
};

// A composition with biases is uploaded through here.
class GatedUploads : public GuardedBackend {
 public:
  explicit GatedUploads(Gate& gate) : gate_(gate) {}
  void write(void* memory, const void* host, size_t bytes) const override {
    gate_.pass();
    GuardedBackend::write(memory, host, bytes);
  }

 private:
  Gate& gate_;
};

EngineOptions small_options() {
  EngineOptions options;
  options.threads = 1;
  options.context_length = 4096;
  options.max_sequences = 3;
  return options;
}

Request with(uint64_t id, int32_t max_tokens, std::vector<RequestAdapter> adapters) {
  Request request = EngineCase::generate(id, max_tokens);
  request.adapters = std::move(adapters);
  return request;
}

}  // namespace

TEST("engine/compositions: a request with a new mix of adapters waits for it alone, while others run and it can be cancelled") {
  Gate gate;
  const GatedUploads backend(gate);
  EngineCase one(backend, "tiny-models/llama", Precision::kFloat32, small_options());
  const BaseModel base = one.engine->model().base(1);
  const auto first = RandomAdapter(base).pairs(2).pair_biases().build(LoraDType::kFloat32);
  const auto second = RandomAdapter(base).pairs(3).pair_biases().build(LoraDType::kFloat32);
  one.engine->submit(EngineCase::generate(1, 4000));
  const size_t before = one.reports.wait_for_tokens(1, 2).tokens.size();
  gate.close();
  one.engine->submit(with(2, 6, {{first, 1}}));
  gate.wait_for_arrivals(1);  // it is being built
  one.engine->submit(with(3, 6, {{first, 1}, {second, 0.5f}}));
  one.engine->submit(with(4, 6, {{second, 1}}));
  // The base needs nothing built, and a running answer goes on.
  CHECK_EQ(one.run(EngineCase::generate(5, 6)).tokens.size(), size_t{6});
  CHECK(one.reports.wait_for_tokens(1, before + 20).finish == Finish::kNone);
  // What waits to be built, and what is being built, end when they are cancelled.
  one.engine->cancel(4);
  CHECK(one.reports.wait_for(4).finish == Finish::kAborted);
  one.engine->submit(with(6, 6, {{first, 1}}));
  one.engine->cancel(2);
  CHECK(one.reports.wait_for(2).finish == Finish::kAborted);
  CHECK_EQ(one.reports.wait_for(2).tokens.size(), size_t{0});
  gate.open();
  const Outcome mixed = one.reports.wait_for(3);
  const Outcome again = one.reports.wait_for(6);
  CHECK(mixed.finish == Finish::kLength && again.finish == Finish::kLength);
  CHECK(mixed.tokens != again.tokens);
  CHECK(one.run(with(7, 6, {{first, 1}})).tokens == again.tokens);
}

TEST("engine/compositions: a mix that cannot be composed fails its request alone, and the end does not wait for what is not begun") {
  Gate gate;
  const GatedUploads backend(gate);
  EngineCase one(backend, "tiny-models/llama", Precision::kFloat32, small_options());
  const BaseModel base = one.engine->model().base(1);
  const auto dora = RandomAdapter(base).pairs(2).magnitudes().build(LoraDType::kFloat32);
  const auto other = RandomAdapter(base).pairs(2).magnitudes().build(LoraDType::kFloat32);
  const Outcome refused = one.run(with(1, 4, {{dora, 1}, {other, 1}}));
  CHECK(refused.finish == Finish::kError);
  CHECK(refused.error_code == ErrorCode::kAdapterUnsupported);
  CHECK(one.run(with(2, 4, {{dora, 1}})).finish == Finish::kLength);
  gate.close();
  for (uint64_t id = 3; id < 9; ++id) one.engine->submit(with(id, 4, {{other, static_cast<float>(id)}}));
  gate.wait_for_arrivals(1);
  std::thread ending([&] { one.engine->shut_down(); });
  for (uint64_t id = 3; id < 9; ++id) CHECK(one.reports.wait_for(id).finish == Finish::kAborted);
  gate.open();
  ending.join();
  CHECK(gate.arrived() < 2 * base.layers * kSites);  // the uploads of one composition, not of six
}

TEST("engine/compositions: equal ones are shared while somebody holds them, and what nobody waits for is not built") {
  const auto model = Model::load(tiny_path("tiny-models/llama"), cpu_backend("reference"), [] {
    WeightsOptions options;
    options.precision = Precision::kFloat32;
    return options;
  }());
  BaseModel base = model->base(1);
  const auto plain = RandomAdapter(base).pairs(2).pair_biases().build(LoraDType::kFloat32);
  Gate gate;
  std::atomic<int> built{0};
  std::mutex mutex;
  std::condition_variable changed;
  base.bias = [&gate, read = base.bias](int32_t layer, Projection projection) {
    if (layer == 0 && projection == Projection::kQ) gate.pass();
    return read(layer, projection);
  };
  Compositions compositions(std::move(base), [&] {
    const std::lock_guard<std::mutex> lock(mutex);
    ++built;
    changed.notify_all();
  });
  const auto wait_for = [&](const std::shared_ptr<const ComposedSpans>& composed) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return composed->ready(); });
  };
  CHECK(compositions.compose({})->ready());
  CHECK(compositions.compose({})->spans()[0].composition == nullptr);
  auto first = compositions.compose({{plain, 1}});
  wait_for(first);
  CHECK_EQ(gate.arrived(), 1);
  auto same = compositions.compose({{plain, 1}});
  CHECK(same->ready());
  CHECK(same->spans()[0].composition == first->spans()[0].composition);
  // A part of a text with another scale: one of its two compositions is there already.
  auto steps = compositions.compose({{plain, 1, 0, 10}, {plain, 2, 10}});
  wait_for(steps);
  CHECK_EQ(gate.arrived(), 2);
  CHECK_EQ(steps->spans().size(), size_t{2});
  CHECK_EQ(steps->spans()[1].begin, 10);
  CHECK(steps->spans()[0].composition == first->spans()[0].composition);
  // Of those that wait behind a build, one is given up.
  gate.close();
  const auto slow = compositions.compose({{plain, 3}});
  gate.wait_for_arrivals(1);
  auto given_up = compositions.compose({{plain, 4}});
  const auto last = compositions.compose({{plain, 5}});
  given_up.reset();
  gate.open();
  wait_for(slow);
  wait_for(last);
  CHECK_EQ(gate.arrived(), 1);  // since it was opened: that of the last
  // A composition goes with the last who holds it, and is built anew.
  const std::weak_ptr<const Composition> watched = first->spans()[0].composition;
  first.reset();
  same.reset();
  CHECK(!watched.expired());
  steps.reset();
  CHECK(watched.expired());
  wait_for(compositions.compose({{plain, 1}}));
  CHECK_EQ(gate.arrived(), 2);
}
