#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/shrink_step.h"
#include "check.h"
#include "emulated_settings.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

// A backend that no other test has run steps on.
std::unique_ptr<device::DeviceBackend> own_backend() {
  return std::make_unique<device::DeviceBackend>(device_under_test().device().plugin(), 0, device::device_ops());
}

}  // namespace

TEST("device/step: a step that comes again is a graph, and replayed from then on; another adapter is the same graph") {
  const auto backend = own_backend();
  ShrinkStep step(*backend, 3);
  const auto one = random_factor(*backend, 1), other = random_factor(*backend, 2);
  const std::vector<float> first = step.run(*one, 1.0f);
  device::DeviceCounters counters = backend->device().counters();
  CHECK_EQ(counters.graphs_built, uint64_t{0});
  const uint64_t kernels = counters.kernels;
  CHECK(kernels >= 1);
  expect_same_bits("second", step.run(*one, 1.0f), first);
  counters = backend->device().counters();
  CHECK_EQ(counters.graphs_built, uint64_t{1});
  CHECK_EQ(counters.graphs_launched, uint64_t{1});
  expect_same_bits("third", step.run(*one, 1.0f), first);
  const std::vector<float> doubled = step.run(*one, 2.0f);
  for (size_t i = 0; i < first.size(); ++i) CHECK_EQ(doubled[i], 2 * first[i]);
  CHECK(step.run(*other, 1.0f) != first);
  counters = backend->device().counters();
  CHECK_EQ(counters.graphs_built, uint64_t{1});
  CHECK_EQ(counters.graphs_launched, uint64_t{4});
  CHECK_EQ(counters.kernels, kernels);
  CHECK_EQ(counters.steps, uint64_t{5});
}

TEST("device/step: steps of other shapes are graphs of their own, and steps in turns are replayed") {
  const auto backend = own_backend();
  const auto factor = random_factor(*backend, 1);
  std::vector<std::unique_ptr<ShrinkStep>> steps;
  std::vector<std::vector<float>> first;
  for (int32_t rows = 1; rows <= 3; ++rows) {
    steps.push_back(std::make_unique<ShrinkStep>(*backend, rows));
    first.push_back(steps.back()->run(*factor, 1.0f));
  }
  for (int round = 0; round < 3; ++round)
    for (size_t i = 0; i < steps.size(); ++i) expect_same_bits("a round", steps[i]->run(*factor, 1.0f), first[i]);
  const device::DeviceCounters counters = backend->device().counters();
  CHECK_EQ(counters.graphs_built, uint64_t{3});
  CHECK_EQ(counters.graphs_launched, uint64_t{9});
}

TEST("device/step: more kinds of steps than graphs are kept; all give the same, again and again") {
  const auto backend = own_backend();
  const auto factor = random_factor(*backend, 1);
  ShrinkStep step(*backend, 1);
  const std::vector<float> expected = step.run(*factor, 1.0f);
  // Each is a kind of its own: so many times the op in one step.
  const auto run_many = [&](int times) {
    backend->run_step([&] {
      for (int i = 0; i < times; ++i) step.record(*factor, 1.0f);
    });
  };
  constexpr int kKinds = 70;  // more than graph_cache.h keeps
  for (int round = 0; round < 3; ++round)
    for (int times = 1; times <= kKinds; ++times) run_many(times);
  expect_same_bits("afterwards", step.run(*factor, 1.0f), expected);
  CHECK(backend->device().counters().graphs_built > uint64_t{kKinds});
}

TEST("device/step: an op that throws while it is recorded leaves the next step whole") {
  const auto backend = own_backend();
  const auto factor = random_factor(*backend, 1);
  ShrinkStep step(*backend, 2);
  const std::vector<float> expected = step.run(*factor, 1.0f);
  CHECK_THROWS_CODE(backend->run_step([&] {
    step.record(*factor, 3.0f);
    throw Error(ErrorCode::kAborted, "stopped");
  }),
                    ErrorCode::kAborted);
  expect_same_bits("the next", step.run(*factor, 1.0f), expected);
  CHECK_THROWS_CODE(step.record(*factor, 1.0f), ErrorCode::kInternal);  // no step is recorded
}

TEST("device/step: downloads and staged values in many chunks") {
  const auto backend = own_backend();
  constexpr size_t kPieces = 40, kCount = 10000;
  std::vector<std::vector<float>> values(kPieces);
  for (int round = 0; round < 2; ++round) {
    std::vector<const float*> staged;
    backend->run_step([&] {
      device::Recorder& recorder = device::Recorder::current();
      for (size_t i = 0; i < kPieces; ++i) {
        const auto piece = recorder.stage<float>(kCount);
        for (size_t k = 0; k < kCount; ++k) piece.host[k] = static_cast<float>(i * kCount + k);
        staged.push_back(piece.device);
        values[i].assign(kCount, 0.0f);
        float* there = recorder.download(values[i].data(), kCount);
        CHECK(there == recorder.download(values[i].data(), kCount));
      }
    });
    for (size_t i = 0; i < kPieces; ++i) {
      std::vector<float> read(kCount);
      backend->read(read.data(), staged[i], kCount * sizeof(float));
      CHECK_EQ(read.front(), static_cast<float>(i * kCount));
      CHECK_EQ(read.back(), static_cast<float>(i * kCount + kCount - 1));
    }
  }
}

TEST("device/step: a key is staged once a step") {
  const auto backend = own_backend();
  const int32_t table[] = {1, 2, 3};
  backend->run_step([&] {
    device::Recorder& recorder = device::Recorder::current();
    const int32_t* there = recorder.upload(table, 3);
    CHECK(recorder.upload(table, 3) == there);
    CHECK(recorder.upload(table, 2) == there);
    CHECK_THROWS_CODE(recorder.upload(table, 4), ErrorCode::kInternal);
    CHECK(recorder.stage_once<int32_t>(&table[1], 8).host != nullptr);
    CHECK(recorder.stage_once<int32_t>(&table[1], 8).host == nullptr);
    CHECK(recorder.upload<int32_t>(nullptr, 5) == nullptr);
  });
  backend->run_step([&] { CHECK(device::Recorder::current().stage_once<int32_t>(&table[1], 8).host != nullptr); });
}

TEST("device/step: the next op gets the same workspace") {
  const auto backend = own_backend();
  const auto factor = random_factor(*backend, 1);
  ShrinkStep step(*backend, 1);
  backend->run_step([&] {
    device::Recorder& recorder = device::Recorder::current();
    void* first = recorder.workspace(100);
    CHECK(recorder.workspace(100) != first);
    step.record(*factor, 1.0f);
    CHECK(recorder.workspace(100) == first);
  });
}

TEST("device/step: engines on several threads share a device") {
  const auto backend = own_backend();
  std::vector<std::thread> threads;
  std::vector<int> wrong(3, 0);
  for (int32_t i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      const auto factor = random_factor(*backend, static_cast<uint64_t>(i));
      ShrinkStep step(*backend, i + 1);
      const std::vector<float> expected = step.run(*factor, 1.0f);
      for (int round = 0; round < 5; ++round)
        if (step.run(*factor, 1.0f) != expected) ++wrong[static_cast<size_t>(i)];
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(3, 0));
}

TEST("device/step: unknown ops and parameters of another size are refused, and the device goes on") {
  const auto backend = own_backend();
  const uint64_t params[2] = {};
  const auto refused = [&](uint32_t code, uint32_t bytes) {
    const device::OpRecord op{static_cast<device::OpCode>(code), bytes, params};
    CHECK_THROWS_CODE(backend->device().run({nullptr, 0, &op, 1, nullptr, 0, 0}), ErrorCode::kInternal);
  };
  refused(device::kOpCodes, 8);
  refused(0xffffffff, 8);
  refused(static_cast<uint32_t>(device::OpCode::kRmsNormAdd), 3);
  const auto factor = random_factor(*backend, 1);
  CHECK(!ShrinkStep(*backend, 1).run(*factor, 1.0f).empty());
}

TEST("device/step: a device that is lost says so from then on; a fresh one works") {
  if (!emulated()) return;  // the fault is the emulator's
  auto backend = own_backend();
  const auto factor = random_factor(*backend, 1);
  auto step = std::make_unique<ShrinkStep>(*backend, 2);
  const std::vector<float> expected = step->run(*factor, 1.0f);
  emulator::settings().fault_at_launch = 1;
  std::string message;
  try {
    step->run(*factor, 1.0f);
    CHECK(!"failed");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kBackendUnavailable);
    message = error.what();
  }
  CHECK(message.find("cudaErrorIllegalAddress") != std::string::npos);
  CHECK(message.find("start it again") != std::string::npos);
  emulator::settings().fault_at_launch = 0;
  for (int i = 0; i < 2; ++i) {
    CHECK_THROWS_CODE(step->run(*factor, 1.0f), ErrorCode::kBackendUnavailable);
    CHECK_THROWS_CODE(backend->reserve(64, Buffer::Pages::kOwn), ErrorCode::kBackendUnavailable);
    CHECK_THROWS_CODE(backend->device().memory(), ErrorCode::kBackendUnavailable);
    emulator::recover();  // what a new process would see; this device stays lost
  }
  const auto again = own_backend();
  const auto same = random_factor(*again, 1);
  expect_same_bits("after it", ShrinkStep(*again, 2).run(*same, 1.0f), expected);
}
