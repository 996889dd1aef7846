// Answers under a constraint, through the whole engine: what is drawn is what forced scoring of the same logits would choose, and
// drafts, neighbours and preemption change nothing.
#include <algorithm>
#include <set>

#include "check.h"
#include "engine/token_choices.h"
#include "engine_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

using Tokens = std::vector<int32_t>;
constexpr int32_t kEnd = 0;

const std::vector<Tokens> kChoices = {{40, 41, 42, 43}, {40, 41, 44}, {40, 41}, {50}, {51, 52, 53, 54, 55, 56, 57}, {40, 60, 40, 60, 40, 61}};
// So that prompt lookup has something to draft, right and wrong.
const Tokens kPrompt = {1, 40, 41, 42, 43, 2, 51, 52, 53, 54, 55, 9, 9, 40, 60, 40, 60, 40, 60, 40, 3};

Request constrained(uint64_t id, float temperature = 0, uint64_t seed = 0) {
  Request request = EngineCase::generate(id, 100, kPrompt);
  request.stop_tokens = {kEnd};
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  request.top_logprobs = 2;
  return request;
}

Request choosing(const EngineCase& one, Request request) {
  request.constraint = std::make_unique<TokenChoices>(kChoices, request.stop_tokens, one.engine->model().config().vocabulary_size);
  return request;
}

// The model's own log-probabilities after the prompt and `answer`.
std::vector<float> logits_after(EngineCase& one, uint64_t id, const Tokens& answer) {
  Tokens text = kPrompt;
  text.insert(text.end(), answer.begin(), answer.end());
  Request request = EngineCase::generate(id, 0, std::move(text));
  request.kind = Request::Kind::kLogits;
  request.from = static_cast<int32_t>(kPrompt.size() + answer.size()) - 1;
  request.to = request.from + 1;
  return one.run(std::move(request)).logits;
}

bool is_choice(Tokens tokens) {
  if (!tokens.empty() && tokens.back() == kEnd) tokens.pop_back();
  return std::find(kChoices.begin(), kChoices.end(), tokens) != kChoices.end();
}

}  // namespace

TEST("engine/constraint: a greedy answer is the choice that the model's own logits lead to") {
  EngineCase one;
  const Outcome outcome = one.run(choosing(one, constrained(1)));
  CHECK(outcome.finish == Finish::kStop);
  CHECK(is_choice(outcome.tokens));
  TokenChoices walk(kChoices, {kEnd}, one.engine->model().config().vocabulary_size);
  Tokens expected;
  for (uint64_t id = 100; !walk.complete(); ++id) {
    const std::vector<float> logits = logits_after(one, id, expected);
    std::vector<uint8_t> allowed(logits.size());
    CHECK(walk.fill_allowed(allowed.data()));
    int32_t best = -1;
    for (int32_t token = 0; token < static_cast<int32_t>(logits.size()); ++token)
      if (allowed[static_cast<size_t>(token)] != 0 && (best < 0 || logits[static_cast<size_t>(token)] > logits[static_cast<size_t>(best)])) best = token;
    expected.push_back(best);
    if (!walk.accept(best)) break;
  }
  CHECK(outcome.tokens == expected);
  // Log-probabilities are the model's own: what scoring the answer gives, though most tokens were forbidden.
  Tokens text = kPrompt;
  text.insert(text.end(), expected.begin(), expected.end());
  Request score = EngineCase::generate(2, 0, std::move(text));
  score.kind = Request::Kind::kScore;
  score.from = static_cast<int32_t>(kPrompt.size()) - 1;
  score.to = score.from + static_cast<int32_t>(expected.size());
  score.top_logprobs = 2;
  const Outcome scored = one.run(std::move(score));
  CHECK(scored.logprobs == outcome.logprobs);
  CHECK(scored.entropies == outcome.entropies);
  CHECK(scored.top_ids == outcome.top_ids);
}

TEST("engine/constraint: drawn answers are choices, each comes up, and drafts change none") {
  EngineCase one(2);
  std::set<Tokens> seen;
  int32_t accepted = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Outcome plain = one.run(choosing(one, constrained(10 * seed, 30, seed)));
    CHECK(plain.finish == Finish::kStop);
    CHECK(is_choice(plain.tokens));
    seen.insert(plain.tokens);
    for (const int32_t drafts : {1, 3, kMaxDraftTokens}) {
      const uint64_t id = 10 * seed + static_cast<uint64_t>(drafts);
      const Outcome drafted = one.run(EngineCase::with_prompt_lookup(choosing(one, constrained(id, 30, seed)), drafts));
      CHECK(drafted.finish == Finish::kStop);
      CHECK(drafted.tokens == plain.tokens);
      CHECK(drafted.logprobs == plain.logprobs);
      accepted += drafted.accepted;
    }
  }
  CHECK_EQ(seen.size(), kChoices.size());
  CHECK(accepted > 20);
}

TEST("engine/constraint: penalties and bias weigh the choices; an answer may end by its length") {
  EngineCase one;
  for (const Tokens& choice : kChoices) {
    Request request = choosing(one, constrained(1 + static_cast<uint64_t>(choice[0]) + choice.size()));
    for (const int32_t token : choice) request.sampling.logit_bias.emplace_back(token, 1000.0f / static_cast<float>(choice.size()));
    request.sampling.logit_bias.emplace_back(7, 1e9f);  // forbidden all the same
    const Outcome outcome = one.run(std::move(request));
    CHECK(is_choice(outcome.tokens));
    CHECK(std::find(outcome.tokens.begin(), outcome.tokens.end(), 7) == outcome.tokens.end());
  }
  Request biased = choosing(one, constrained(2));
  biased.sampling.logit_bias = {{51, 1000.0f}};
  biased.max_tokens = 3;
  const Outcome cut = one.run(std::move(biased));
  CHECK(cut.finish == Finish::kLength);
  CHECK(cut.tokens == (Tokens{51, 52, 53}));
}

TEST("engine/constraint: answers beside others, and of requests that give way, are those alone") {
  EngineCase alone;
  std::vector<Tokens> expected;
  for (uint64_t seed = 1; seed <= 4; ++seed) expected.push_back(alone.run(choosing(alone, constrained(seed, 30, seed))).tokens);
  EngineCase one(2, 3);
  std::vector<Request> requests;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    requests.push_back(choosing(one, constrained(seed, 30, seed)));
    if (seed % 2 == 0) requests.back() = EngineCase::with_prompt_lookup(std::move(requests.back()), kMaxDraftTokens);
  }
  one.engine->submit(EngineCase::generate(90, 200));
  for (Request& request : requests) one.engine->submit(std::move(request));
  // Each takes the place of one that runs.
  for (uint64_t id = 91; id < 99; ++id) {
    Request urgent = EngineCase::generate(id, 2, {static_cast<int32_t>(id)});
    urgent.priority = 5;
    one.engine->submit(std::move(urgent));
  }
  for (uint64_t seed = 1; seed <= 4; ++seed) CHECK(one.reports.wait_for(seed).tokens == expected[seed - 1]);
}
