// A small model in an engine of its own, and what it reports.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "backend/backend.h"
#include "engine/engine.h"
#include "engine/prompt_lookup.h"

namespace lowrank::test {

inline std::string tiny_path(const char* below) {
  return (std::filesystem::path(__FILE__).parent_path() / "../../golden/data" / below).string();
}

// Everything that one request reported, put together.
struct Outcome {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  std::vector<float> logprobs;
  std::vector<float> entropies;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
  Finish finish = Finish::kNone;
  ErrorCode error_code = ErrorCode::kInternal;
  int32_t accepted = 0;  // drafted tokens that were drawn
};

// Gathers events; the engine's thread writes, any thread waits.
class Reports {
 public:
  void take(std::vector<Event>&& events) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Event& event : events) {
      Outcome& outcome = outcomes_[event.request];
      const auto append = [](auto& to, const auto& values) { to.insert(to.end(), values.begin(), values.end()); };
      append(outcome.tokens, event.tokens);
      append(outcome.logits, event.logits);
      append(outcome.logprobs, event.logprobs);
      append(outcome.entropies, event.entropies);
      append(outcome.top_ids, event.top_ids);
      append(outcome.top_logprobs, event.top_logprobs);
      if (outcome.finish != Finish::kNone) ++events_after_the_end;
      outcome.finish = event.finish;
      outcome.error_code = event.error_code;
      outcome.accepted = event.timings.accepted_tokens;
    }
    changed_.notify_all();
  }
  // Waits until the request has ended.
  Outcome wait_for(uint64_t request) {
    return wait(request, [](const Outcome& outcome) { return outcome.finish != Finish::kNone; });
  }
  // Waits until it has so many tokens, or has ended.
  Outcome wait_for_tokens(uint64_t request, size_t count) {
    return wait(request, [count](const Outcome& outcome) {
      return outcome.finish != Finish::kNone || outcome.tokens.size() >= count;
    });
  }
  int events_after_the_end = 0;

 private:
  template <class Done>
  Outcome wait(uint64_t request, Done done) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done(outcomes_[request]); });
    return outcomes_[request];
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Outcome> outcomes_;
};

struct EngineCase {
  explicit EngineCase(int threads = 1, int32_t max_sequences = 4, int32_t context_length = 1 << 16)
      : EngineCase(cpu_backend(), "tiny-models/llama", Precision::kInt8, [&] {
          EngineOptions options;
          options.threads = threads;
          options.context_length = context_length;
          options.max_sequences = max_sequences;
          return options;
        }()) {}
  EngineCase(const Backend& backend, const char* below, Precision precision, const EngineOptions& options) {
    WeightsOptions weights;
    weights.precision = precision;
    weights.threads = options.threads;
    auto model = Model::load(tiny_path(below), backend, weights);
    engine = std::make_unique<Engine>(std::move(model), options,
                                      [this](std::vector<Event>&& events) { reports.take(std::move(events)); });
  }
  static Request generate(uint64_t id, int32_t max_tokens, std::vector<int32_t> tokens = {1, 2, 3}) {
    Request request;
    request.id = id;
    request.tokens = std::move(tokens);
    request.max_tokens = max_tokens;
    return request;
  }
  // With drafts by prompt lookup, at most so many tokens a step.
  static Request with_prompt_lookup(Request request, int32_t max_draft_tokens, std::shared_ptr<PreviousAnswers> answers = nullptr) {
    request.max_draft_tokens = max_draft_tokens;
    request.drafter = prompt_lookup_drafter(std::move(answers), request);
    return request;
  }
  Outcome run(Request request) {
    const uint64_t id = request.id;
    engine->submit(std::move(request));
    return reports.wait_for(id);
  }

  Reports reports;
  std::unique_ptr<Engine> engine;
};

inline constexpr int32_t kEndless = 1 << 30;

}  // namespace lowrank::test
