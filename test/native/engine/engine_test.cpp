// The engine's life: requests, cancellation and the end, from several threads at once. Built with the thread sanitizer,
// too (npm run verify).
#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <thread>

#include "check.h"
#include "engine_case.h"
#include "lora/adapter_source.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

// The golden adapter "plain": pairs of all projections, alpha 8, rank 4.
std::shared_ptr<const Adapter> plain_adapter(const Engine& engine, std::optional<LoraDType> dtype = {}) {
  constexpr const char* kNames[kProjections] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  const auto file = open_file(tiny_path("tiny-adapters/plain/adapter_model.safetensors"));
  std::vector<uint8_t> bytes(file->size());
  file->read(0, bytes.size(), bytes.data());
  const auto source = open_adapter(std::move(bytes));
  std::vector<AdapterEntry> entries;
  for (const TensorInfo& tensor : source->tensors()) {
    const std::string name(tensor.name);
    AdapterEntry entry;
    entry.tensor = name;
    entry.place = AdapterEntry::Place::kProjection;
    entry.role = name.find("lora_A") != std::string::npos ? AdapterEntry::Role::kLoraA : AdapterEntry::Role::kLoraB;
    entry.layer = name.find("layers.1.") != std::string::npos ? 1 : 0;
    entry.scaling = 2;
    for (int i = 0; i < kProjections; ++i)
      if (name.find(kNames[i]) != std::string::npos) entry.projection = static_cast<Projection>(i);
    entries.push_back(entry);
  }
  BaseModel base = engine.model().base(1);
  if (dtype) base.lora_dtype = *dtype;
  return build_adapter(*source, entries, base);
}

}  // namespace

TEST("engine: without a request it ends, twice over, and does not hang") {
  EngineCase one;
  one.engine->shut_down();
  one.engine->shut_down();
}

TEST("engine: a request gives its tokens and ends") {
  EngineCase one;
  const Outcome outcome = one.run(EngineCase::generate(1, 5));
  CHECK(outcome.finish == Finish::kLength);
  CHECK_EQ(outcome.tokens.size(), size_t{5});
  const Outcome again = one.run(EngineCase::generate(2, 5));
  CHECK(again.tokens == outcome.tokens);
}

TEST("engine: keys, values, A and B have formats of their own, whatever the weights'") {
  for (const Precision precision : {Precision::kInt8, Precision::kW8Float32, Precision::kFloat32}) {
    const auto logits = [&](std::optional<KvFormat> kv, std::optional<LoraDType> lora) {
      EngineOptions options;
      options.context_length = 64;
      options.kv_format = kv;
      EngineCase one(cpu_backend(), "tiny-models/llama", precision, options);
      CHECK(one.engine->kv_format() == kv.value_or(kv_format(precision)));
      Request request;
      request.id = 1;
      request.kind = Request::Kind::kLogits;
      for (int32_t i = 0; i < 40; ++i) request.tokens.push_back(1 + i * 37 % 271);
      request.to = 40;
      const auto adapter = plain_adapter(*one.engine, lora);
      CHECK(adapter->dtype == lora.value_or(lora_dtype(precision)));
      request.adapters = {{adapter, 1.0f}};
      return one.run(std::move(request)).logits;
    };
    const std::vector<float> preset = logits({}, {});
    CHECK(!preset.empty() && logits(kv_format(precision), lora_dtype(precision)) == preset);
    const auto is_near = [&](const std::vector<float>& other) {
      double squares = 0, distance = 0;
      for (size_t i = 0; i < preset.size(); ++i) {
        squares += double{preset[i]} * preset[i];
        distance += (double{preset[i]} - other[i]) * (double{preset[i]} - other[i]);
      }
      CHECK(other.size() == preset.size() && std::sqrt(distance / squares) < 0.1);
    };
    for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8})
      if (format != kv_format(precision)) {
        const std::vector<float> other = logits(format, {});
        CHECK(other != preset);
        is_near(other);
      }
    for (const LoraDType dtype : {LoraDType::kBFloat16, LoraDType::kFloat32, LoraDType::kInt8})
      if (dtype != lora_dtype(precision)) {
        const std::vector<float> other = logits({}, dtype);
        is_near(other);
      }
  }
}

TEST("engine: logits of many positions arrive in order, whatever the number of rows at a time") {
  EngineCase one;
  const auto logits = [](uint64_t id, int32_t from, int32_t to) {
    Request request = EngineCase::generate(id, 0, std::vector<int32_t>(700, 7));
    request.kind = Request::Kind::kLogits;
    request.from = from;
    request.to = to;
    return request;
  };
  const Outcome whole = one.run(logits(1, 0, 700));
  CHECK(whole.finish == Finish::kComplete);
  const auto vocabulary = static_cast<size_t>(one.engine->model().config().vocabulary_size);
  CHECK_EQ(whole.logits.size(), 700 * vocabulary);
  const Outcome part = one.run(logits(2, 505, 530));
  CHECK_EQ(part.logits.size(), 25 * vocabulary);
  CHECK(std::equal(part.logits.begin(), part.logits.end(), whole.logits.begin() + static_cast<int64_t>(505 * vocabulary)));
}

TEST("engine: cancellation of running, waiting, ended and unknown requests") {
  EngineCase one(1, 1);
  one.engine->submit(EngineCase::generate(1, kEndless));
  one.engine->submit(EngineCase::generate(2, kEndless));
  CHECK(one.reports.wait_for_tokens(1, 3).finish == Finish::kNone);
  one.engine->cancel(99);
  one.engine->cancel(2);
  CHECK(one.reports.wait_for(2).finish == Finish::kAborted);
  CHECK_EQ(one.reports.wait_for(2).tokens.size(), size_t{0});
  one.engine->cancel(1);
  CHECK(one.reports.wait_for(1).finish == Finish::kAborted);
  one.engine->cancel(1);
  CHECK(one.run(EngineCase::generate(3, 2)).finish == Finish::kLength);
  CHECK_EQ(one.reports.events_after_the_end, 0);
}

TEST("engine: its end aborts every request, and says so before shut_down returns") {
  for (int round = 0; round < 5; ++round) {
    EngineCase one(2, 2);
    for (uint64_t id = 1; id <= 6; ++id) one.engine->submit(EngineCase::generate(id, kEndless));
    if (round > 0) one.reports.wait_for_tokens(1, static_cast<size_t>(round));
    one.engine->shut_down();
    for (uint64_t id = 1; id <= 6; ++id) CHECK(one.reports.wait_for(id).finish == Finish::kAborted);
    CHECK_EQ(one.reports.events_after_the_end, 0);
  }
}

TEST("engine: several threads submit and cancel at once; results are those of a request alone") {
  EngineCase one(3, 3);
  std::vector<std::vector<int32_t>> alone;
  for (int32_t i = 0; i < 8; ++i)
    alone.push_back(one.run(EngineCase::generate(static_cast<uint64_t>(1000 + i), 12, {i, i + 1})).tokens);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int32_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int32_t round = 0; round < 6; ++round) {
        const auto id = static_cast<uint64_t>(i * 10 + round + 1);
        if (round % 3 == 2) {
          one.engine->submit(EngineCase::generate(id, kEndless, {i}));
          one.engine->cancel(id);
          if (one.reports.wait_for(id).finish != Finish::kAborted) ++wrong;
        } else if (one.run(EngineCase::generate(id, 12, {i, i + 1})).tokens != alone[static_cast<size_t>(i)]) {
          ++wrong;
        }
        (void)one.engine->memory();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

TEST("engine: two engines share the pool") {
  EngineCase one(2);
  EngineCase other(3);
  for (uint64_t id = 1; id <= 4; ++id) {
    one.engine->submit(EngineCase::generate(id, 20));
    other.engine->submit(EngineCase::generate(id, 20));
  }
  for (uint64_t id = 1; id <= 4; ++id)
    CHECK(one.reports.wait_for(id).tokens == other.reports.wait_for(id).tokens);
}

TEST("engine: an adapter lives as long as the requests that run with it") {
  EngineCase one(2);
  auto adapter = plain_adapter(*one.engine);
  const std::weak_ptr<const Adapter> watched = adapter;
  const auto base = one.run(EngineCase::generate(100, 10)).tokens;
  std::vector<Request> requests;
  for (uint64_t id = 1; id <= 6; ++id) {
    requests.push_back(EngineCase::generate(id, 10));
    requests.back().adapters.push_back({adapter, 1, 0});
  }
  adapter.reset();
  for (Request& request : requests) one.engine->submit(std::move(request));
  requests.clear();
  const auto adapted = one.reports.wait_for(1).tokens;
  CHECK(adapted != base);
  for (uint64_t id = 2; id <= 6; ++id) CHECK(one.reports.wait_for(id).tokens == adapted);
  one.engine->shut_down();
  CHECK(watched.expired());
}


TEST("engine: prompt lookup gives the very tokens of plain decoding, greedy and drawn, alone and beside others") {
  // A prompt that repeats itself, so that drafts come up; the small model's answers soon repeat, too.
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 60; ++i) prompt.push_back(1 + i % 6);
  for (const float temperature : {0.0f, 0.7f, 1.5f})
    for (const int32_t drafts : {1, 3, kMaxDraftTokens}) {
      EngineCase one(2);
      const auto request = [&](uint64_t id, int32_t max_draft_tokens) {
        Request made = EngineCase::generate(id, 80, prompt);
        made.sampling.temperature = temperature;
        made.sampling.repetition_penalty = 1.1f;
        made.sampling.seed = 5;
        return max_draft_tokens > 0 ? EngineCase::with_prompt_lookup(std::move(made), max_draft_tokens) : std::move(made);
      };
      const Outcome plain = one.run(request(1, 0));
      CHECK_EQ(plain.tokens.size(), size_t{80});
      CHECK(one.run(request(2, drafts)).tokens == plain.tokens);
      Request stopping = request(3, drafts);
      stopping.stop_tokens = {plain.tokens[40]};
      const auto first = std::find(plain.tokens.begin(), plain.tokens.end(), plain.tokens[40]);
      CHECK(one.run(std::move(stopping)).tokens == std::vector<int32_t>(plain.tokens.begin(), first + 1));
      for (uint64_t id = 10; id < 13; ++id) one.engine->submit(request(id, id == 11 ? 0 : drafts));
      for (uint64_t id = 10; id < 13; ++id) CHECK(one.reports.wait_for(id).tokens == plain.tokens);
    }
}

TEST("engine: prompt lookup under every penalty and bias, with any number of threads, and ended within a draft") {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 50; ++i) prompt.push_back(1 + i % 5);
  std::vector<int32_t> first;
  for (int threads = 1; threads <= 4; ++threads) {
    EngineCase one(threads);
    const auto request = [&](uint64_t id, int32_t max_draft_tokens) {
      Request made = EngineCase::generate(id, 100, prompt);
      made.sampling.temperature = 0.4f;
      made.sampling.top_p = 0.9f;
      made.sampling.repetition_penalty = 0.9f;  // what was there comes again, so that drafts are right
      made.sampling.presence_penalty = -0.5f;
      made.sampling.frequency_penalty = 0.02f;
      made.sampling.logit_bias = {{9, 1.0f}, {2, -0.5f}};
      made.sampling.seed = 11;
      return max_draft_tokens > 0 ? EngineCase::with_prompt_lookup(std::move(made), max_draft_tokens) : std::move(made);
    };
    const std::vector<int32_t> plain = one.run(request(1, 0)).tokens;
    if (first.empty()) first = plain;
    CHECK(plain == first);
    // Drafts of four sequences are more rows than are read out at a time.
    for (uint64_t id = 10; id < 14; ++id) {
      Request drafting = request(id, kMaxDraftTokens);
      if (id == 12) drafting.max_tokens = 37;
      if (id == 13) drafting.stop_tokens = {plain[60]};
      one.engine->submit(std::move(drafting));
    }
    CHECK(one.reports.wait_for(10).tokens == plain);
    CHECK(one.reports.wait_for(11).tokens == plain);
    CHECK(one.reports.wait_for(12).tokens == std::vector<int32_t>(plain.begin(), plain.begin() + 37));
    const auto stop = std::find(plain.begin(), plain.end(), plain[60]);
    CHECK(one.reports.wait_for(13).tokens == std::vector<int32_t>(plain.begin(), stop + 1));
    CHECK(one.reports.wait_for(10).accepted > 20);
  }
}

TEST("engine: a drafted row is drawn from as if the draft before it had been counted") {
  EngineCase one(1);
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 24; ++i) prompt.push_back(1 + i % 6);
  int32_t accepted = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const auto tokens = [&](uint64_t id, int32_t drafts) {
      Request request = EngineCase::generate(id, 40, prompt);
      request.sampling.temperature = 1;
      request.sampling.repetition_penalty = 0.8f;
      request.sampling.presence_penalty = -1;
      request.sampling.frequency_penalty = -0.7f;  // each time makes the next one likelier by half
      request.sampling.seed = seed;
      if (drafts > 0) request = EngineCase::with_prompt_lookup(std::move(request), drafts);
      const Outcome outcome = one.run(std::move(request));
      accepted += outcome.accepted;
      return outcome.tokens;
    };
    CHECK(tokens(2 * seed, kMaxDraftTokens) == tokens(2 * seed + 1, 0));
  }
  CHECK(accepted > 40);
}

TEST("engine: prompt lookup ends where the context is full") {
  EngineCase one(1, 1, 64);
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 40; ++i) prompt.push_back(1 + i % 4);
  const Outcome plain = one.run(EngineCase::generate(1, 1000, prompt));
  CHECK(one.run(EngineCase::with_prompt_lookup(EngineCase::generate(2, 1000, prompt), kMaxDraftTokens)).tokens == plain.tokens);
  CHECK_EQ(plain.tokens.size(), size_t{24});
}
