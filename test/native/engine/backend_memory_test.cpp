// Engine, model and adapters over a backend whose memory the host cannot touch, against the same ops on the host's memory: equal
// bits, whatever is asked.
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "backend/guarded_backend.h"
#include "check.h"
#include "engine_case.h"
#include "formats/temporary_folder.h"
#include "lora/random_adapter.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

std::vector<int32_t> prompt(int32_t count, int32_t first) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((first + i * i) % 60 + 1);
  return tokens;
}

Request evaluation(uint64_t id, Request::Kind kind, std::vector<int32_t> tokens) {
  Request request = EngineCase::generate(id, 0, std::move(tokens));
  request.kind = kind;
  request.to = static_cast<int32_t>(request.tokens.size());
  return request;
}

// Generation of every kind, scoring and evaluation with these adapters.
std::vector<Request> requests(uint64_t first_id, const std::vector<RequestAdapter>& adapters, uint64_t which,
                              const std::shared_ptr<PreviousAnswers>& answers) {
  std::vector<Request> all;
  const auto begin = static_cast<int32_t>(which);
  all.push_back(EngineCase::generate(0, 30, prompt(45, begin)));
  all.back().top_logprobs = 3;
  all.push_back(EngineCase::generate(0, 20, prompt(50, begin)));
  SamplingOptions& drawn = all.back().sampling;
  drawn.temperature = 3;  // so flat that draws end behind the candidates
  drawn.top_p = 0.999f;
  drawn.repetition_penalty = 1.2f;
  drawn.presence_penalty = 0.3f;
  drawn.logit_bias = {{5, 1.0f}};
  drawn.seed = which;
  all.push_back(evaluation(0, Request::Kind::kScore, prompt(70, begin)));
  all.back().top_logprobs = 2;
  all.push_back(evaluation(0, Request::Kind::kLogits, prompt(40, begin)));
  for (Request& request : all) {
    request.id = first_id++;
    request.adapters = adapters;
  }
  all[0] = EngineCase::with_prompt_lookup(std::move(all[0]), 4, answers);
  return all;
}

// How a model is held and what runs on it.
struct Setting {
  const char* model;
  Precision precision;
  bool int8_kv;
  LoraDType dtype;
};

// While it lives, int8 is calibrated on the reference whatever the backend, as its own loads are.
class ReferenceCpu {
 public:
  ReferenceCpu() {
    if (const char* forced = std::getenv(kName)) before_ = forced;
    setenv(kName, "reference", 1);
  }
  ~ReferenceCpu() {
    if (before_)
      setenv(kName, before_->c_str(), 1);
    else
      unsetenv(kName);
  }
  ReferenceCpu(const ReferenceCpu&) = delete;
  ReferenceCpu& operator=(const ReferenceCpu&) = delete;

 private:
  static constexpr const char* kName = "LOWRANK_ISA";
  std::optional<std::string> before_;
};

struct Answers {
  std::vector<Outcome> outcomes;
  LogitDifferences differences;
  EngineStatistics statistics;
  uint64_t checksum;
};

Answers answer(const Backend& backend, const Setting& setting) {
  EngineOptions options;
  options.threads = 2;
  options.context_length = 160;
  options.max_sequences = 3;
  if (setting.int8_kv) options.kv_format = KvFormat::kInt8;
  // One context.
  options.kv_cache_bytes = static_cast<size_t>(pages_for(options.context_length) * kPageTokens) *
                           EngineCase(backend, setting.model, setting.precision, options).engine->kv_bytes_per_token();
  EngineCase one(backend, setting.model, setting.precision, options);
  const BaseModel base = one.engine->model().base(2);
  const auto plain = RandomAdapter(base).pairs(5).build(setting.dtype);
  const auto dora = RandomAdapter(base).pairs(2).magnitudes().biases().build(setting.dtype);
  const auto saved = RandomAdapter(base).norms().tables().build(setting.dtype);
  const auto ends = RandomAdapter(base).table_pairs(3).pairs(1).pair_biases().build(setting.dtype);
  const std::vector<std::vector<RequestAdapter>> uses = {
      {}, {{plain, 1}}, {{dora, 0.5f}}, {{saved, 1}}, {{ends, 0.75f}}, {{plain, 0.5f}, {ends, 1, 20, 60}}};

  auto comparison = std::make_shared<LogitComparison>(2, 30, one.engine->model().config().vocabulary_size);
  const auto previous = std::make_shared<PreviousAnswers>();
  std::vector<Request> all;
  for (size_t i = 0; i < uses.size(); ++i)
    for (Request& request : requests(1 + 10 * i, uses[i], i, previous)) all.push_back(std::move(request));
  for (int32_t variant = 0; variant < 2; ++variant) {
    all.push_back(evaluation(static_cast<uint64_t>(100 + variant), Request::Kind::kLogits, prompt(30, 1)));
    all.back().adapters = uses[static_cast<size_t>(variant)];
    all.back().comparison = comparison;
    all.back().variant = variant;
  }
  // All others give way to the one that fills the context.
  all.push_back(EngineCase::generate(200, 5, prompt(155, 3)));
  all.back().priority = 1;
  std::vector<uint64_t> ids;
  for (Request& request : all) {
    ids.push_back(request.id);
    if (request.priority > 0) one.reports.wait_for_tokens(ids[0], 1);
    one.engine->submit(std::move(request));
  }
  Answers answers;
  for (const uint64_t id : ids) answers.outcomes.push_back(one.reports.wait_for(id));
  // The second one finds a page to share and a part of one to copy.
  for (const uint64_t id : {300, 301}) answers.outcomes.push_back(one.run(EngineCase::generate(id, 5, prompt(45, 0))));
  answers.differences = comparison->compare(0, prompt(30, 2));
  one.engine->shut_down();
  answers.statistics = one.engine->statistics();
  answers.checksum = one.engine->model().checksum();
  return answers;
}

}  // namespace

TEST("backend memory: what the guarded backend gives is the ops' alone") {
  const GuardedBackend backend;
  const float ones[3] = {1, 1, 1};
  CHECK(GuardedBackend::host_can_read(ones));
  const BackendMemory memory = backend.reserve(sizeof ones, Buffer::Pages::kSmall);
  CHECK(!GuardedBackend::host_can_read(memory.as<void>()));
  float back[3] = {2, 2, 2};
  backend.read(back, memory.as<void>(), sizeof back);
  CHECK_EQ(back[2], 0.0f);
  backend.write(memory.as<void>(), ones, sizeof ones);
  backend.read(back, memory.as<void>(), sizeof back);
  CHECK_EQ(back[2], 1.0f);
  const MatrixSpec spec = {16, 64, {WeightFormat::kInt8, ActivationFormat::kInt8, kDefaultScaleGroup, true, true, 1}, {3}, std::vector<float>(64, 2.0f)};
  const auto matrix = backend.pack(spec, [](int32_t, int32_t rows, float* out) { std::fill_n(out, 64 * rows, 0.5f); }, 1);
  CHECK(!GuardedBackend::host_can_read(matrix->input.outliers) && !GuardedBackend::host_can_read(matrix->input.smoothing));
  CHECK(!GuardedBackend::host_can_read(backend.memory(*matrix)[0].data));
  CHECK(backend.spec_of(*matrix).outliers == spec.outliers && backend.spec_of(*matrix).smoothing == spec.smoothing);
  const BackendVector vector(backend, {1, 2, 3});
  CHECK(!GuardedBackend::host_can_read(vector.data()));
  CHECK(vector.values() == std::vector<float>({1, 2, 3}));
}

TEST("backend memory: every request on every kind of model and adapter gives the bits of the host's memory") {
  for (const Setting& setting : {Setting{"tiny-models/llama", Precision::kInt8, false, LoraDType::kBFloat16},
                                 Setting{"tiny-models/qwen2", Precision::kInt8, true, LoraDType::kInt8},
                                 Setting{"tiny-models/gemma3", Precision::kW8Float32, false, LoraDType::kFloat32}}) {
    const ReferenceCpu reference;
    const GuardedBackend guarded;
    const Answers plain = answer(cpu_backend("reference"), setting);
    const Answers there = answer(guarded, setting);
    CHECK_EQ(there.checksum, plain.checksum);
    for (size_t i = 0; i < plain.outcomes.size(); ++i) {
      const Outcome& expected = plain.outcomes[i];
      const Outcome& actual = there.outcomes[i];
      CHECK(expected.finish == Finish::kLength || expected.finish == Finish::kComplete);
      CHECK(actual.finish == expected.finish);
      CHECK(actual.tokens == expected.tokens);
      const std::string what = std::string(setting.model) + ", request " + std::to_string(i);
      expect_same_bits(what + ": logits", actual.logits, expected.logits);
      expect_same_bits(what + ": logprobs", actual.logprobs, expected.logprobs);
      expect_same_bits(what + ": entropies", actual.entropies, expected.entropies);
      expect_same_bits(what + ": top", actual.top_logprobs, expected.top_logprobs);
      CHECK(actual.top_ids == expected.top_ids);
    }
    CHECK(there.differences.divergences == plain.differences.divergences);
    CHECK(there.differences.logprobs == plain.differences.logprobs);
    CHECK(plain.differences.divergences.back() > 0);
    // The ways that copy pages were gone.
    CHECK(there.statistics.preemptions > 0);
    CHECK(there.statistics.cached_tokens >= 44);
  }
}

TEST("backend memory: packed weights go to a file and come back") {
  const ReferenceCpu reference;
  const GuardedBackend guarded;
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "a.weights").string();
  WeightsOptions options;
  options.threads = 2;
  options.packed_path = [&] { return path; };
  const auto load = [&](const Backend& backend) { return Model::load(tiny_path("tiny-models/llama"), backend, options); };
  const auto written = load(guarded);
  CHECK(written->weights().packed == PackedState::kWritten);
  const auto restored = load(guarded);
  CHECK(restored->weights().packed == PackedState::kRestored);
  CHECK_EQ(restored->checksum(), written->checksum());
  // One layout: what the guarded backend has written, the reference reads.
  const auto plain = load(cpu_backend("reference"));
  CHECK(plain->weights().packed == PackedState::kRestored);
  CHECK_EQ(plain->checksum(), written->checksum());
}
