// The scheduler without an engine: what it plans, in which order, and who gives way. The steps are not computed.
#include "engine/scheduler.h"

#include <algorithm>
#include <random>
#include <string>

#include "check.h"

using namespace lowrank;
using namespace std::chrono_literals;

namespace {

constexpr int32_t kToken = 7;

struct SchedulerCase {
  SchedulerCase(int32_t max_sequences, int32_t max_rows, int32_t max_pages)
      : pages(cpu_backend("reference"), {1, 1, 8, KvFormat::kFloat32, max_pages}), scheduler({max_sequences, max_rows}, pages) {}

  // Guesses as many tokens as the case says.
  struct Guesses final : Drafter {
    explicit Guesses(SchedulerCase& owner) : one(owner) {}
    std::vector<int32_t> draft(const std::vector<int32_t>&, int32_t max_tokens) override {
      one.draft_limits.push_back(max_tokens);
      return std::vector<int32_t>(static_cast<size_t>(std::min(max_tokens, one.draft_tokens)), kToken);
    }
    SchedulerCase& one;
  };

  // Tokens differ between requests, unless they have one text.
  Sequence& add(uint64_t id, int32_t tokens, int32_t priority = 0, int32_t text = -1) {
    Request request;
    request.id = id;
    request.priority = priority;
    for (int32_t i = 0; i < tokens; ++i) request.tokens.push_back((text < 0 ? static_cast<int32_t>(id) : text) * 1000 + i);
    request.max_tokens = request.max_draft_tokens = 1 << 20;
    request.drafter = std::make_unique<Guesses>(*this);
    Sequence& sequence = scheduler.add(std::move(request));
    sequence.draft_limit = 1 << 20;
    return sequence;
  }
  void admit() {
    while (Sequence* next = scheduler.next_to_admit(Clock::now())) scheduler.admit(*next);
  }
  void end(Sequence& sequence) {
    scheduler.release(sequence, true);
    sequence.done = true;
    scheduler.sweep();
  }
  // One step, as "id: begin + rows" each. Whoever's last position has rows draws one token; no draft is right.
  std::string step() {
    admit();
    std::string text;
    int32_t rows = 0;
    std::vector<Sequence*> served;
    for (const PlannedRows& planned : scheduler.plan()) {
      Sequence& sequence = *planned.sequence;
      text += (text.empty() ? "" : ", ") + std::to_string(sequence.request.id) + ": " + std::to_string(planned.begin) + " + " +
              std::to_string(planned.count);
      rows += planned.count;
      CHECK(planned.count > 0);
      CHECK(sequence.active && !sequence.done);
      CHECK(sequence.blocks.size() * kPageTokens >= planned.begin + planned.count);
      CHECK(std::find(served.begin(), served.end(), &sequence) == served.end());
      served.push_back(&sequence);
    }
    max_rows_of_step = std::max(max_rows_of_step, rows);
    for (Sequence* sequence : served) {
      if (sequence->computed < sequence->length()) continue;
      sequence->tokens.push_back(kToken);
      sequence->computed = sequence->length() - 1;
      sequence->draft.clear();
    }
    scheduler.computed(1);
    return text;
  }

  int32_t draft_tokens = 0;
  std::vector<int32_t> draft_limits;  // of each draft
  int32_t max_rows_of_step = 0;
  KvCache pages;
  Scheduler scheduler;
};

}  // namespace

TEST("scheduler: a prompt is computed in chunks, then its answer a row at a time") {
  SchedulerCase one(4, 4, 8);
  one.add(1, 10);
  CHECK_EQ(one.scheduler.waiting(), size_t{1});
  CHECK_EQ(one.step(), std::string("1: 0 + 4"));
  CHECK_EQ(one.scheduler.active(), size_t{1});
  CHECK_EQ(one.step(), std::string("1: 4 + 4"));
  CHECK_EQ(one.step(), std::string("1: 8 + 2"));
  CHECK_EQ(one.step(), std::string("1: 10 + 1"));
  CHECK_EQ(one.step(), std::string("1: 11 + 1"));
  one.end(*one.scheduler.find(1));
  CHECK(one.scheduler.idle());
  CHECK_EQ(one.step(), std::string());
}

TEST("scheduler: of several prompts the oldest has half of a step, the shortest come next") {
  SchedulerCase one(4, 32, 16);
  one.add(1, 100);
  one.add(2, 20);
  one.add(3, 5);
  CHECK_EQ(one.step(), std::string("1: 0 + 16, 3: 0 + 5, 2: 0 + 11"));
  // What the others do not need is the oldest's. The answer leaves prompts a quarter of the step.
  CHECK_EQ(one.step(), std::string("3: 5 + 1, 1: 16 + 22, 2: 11 + 9"));
}

TEST("scheduler: where not all answers fit into a step, those that were left out come first in the next") {
  SchedulerCase one(4, 2, 8);
  for (const uint64_t id : {1, 2, 3}) one.add(id, 1);
  for (int i = 0; i < 2; ++i) one.step();
  CHECK_EQ(one.scheduler.active(), size_t{3});
  std::vector<int> rows(4, 0);
  for (int i = 0; i < 12; ++i) {
    const std::string planned = one.step();
    for (const int id : {1, 2, 3})
      if (planned.find(std::to_string(id) + ": ") != std::string::npos) ++rows[static_cast<size_t>(id)];
  }
  CHECK_EQ(rows[1], 8);
  CHECK_EQ(rows[2], 8);
  CHECK_EQ(rows[3], 8);
}

TEST("scheduler: answers leave a row to prompts in the smallest of steps") {
  for (const int32_t max_rows : {2, 3, 4, 8}) {
    SchedulerCase one(16, max_rows, 32);
    for (int32_t id = 1; id <= max_rows; ++id) one.add(static_cast<uint64_t>(id), 1);
    one.step();
    one.add(100, 20);
    int steps = 0;
    while (one.scheduler.find(100)->generated() == 0 && ++steps < 100) one.step();
    CHECK(steps < 100);
  }
}

TEST("scheduler: a higher priority takes the place of a lower one, an equal one waits") {
  SchedulerCase one(1, 8, 8);
  Sequence& first = one.add(1, 4);
  CHECK_EQ(one.step(), std::string("1: 0 + 4"));
  one.add(2, 4);
  CHECK_EQ(one.step(), std::string("1: 4 + 1"));
  one.add(3, 4, 1);
  CHECK_EQ(one.step(), std::string("3: 0 + 4"));
  CHECK(!first.active);
  CHECK_EQ(first.preemptions, 1);
  CHECK_EQ(one.scheduler.counts().preemptions, int64_t{1});
  one.end(*one.scheduler.find(3));
  // The one that gave way came first. All its tokens but the last are in the prefix cache.
  CHECK_EQ(one.step(), std::string("1: 5 + 1"));
}

TEST("scheduler: five seconds of waiting count as much as one level of priority") {
  SchedulerCase one(1, 8, 8);
  Sequence& patient = one.add(1, 4);
  Sequence& urgent = one.add(2, 4, 1);
  const auto now = Clock::now();
  urgent.submitted = now;
  patient.submitted = now - 4900ms;
  CHECK_EQ(one.scheduler.next_to_admit(now)->request.id, uint64_t{2});
  patient.submitted = now - 5100ms;
  CHECK_EQ(one.scheduler.next_to_admit(now)->request.id, uint64_t{1});
}

TEST("scheduler: where the cache is full the last to come gives way, and goes on later from what was kept") {
  SchedulerCase one(4, 64, 3);
  Sequence& first = one.add(1, 30);
  Sequence& second = one.add(2, 30);
  CHECK_EQ(one.step(), std::string("1: 0 + 30, 2: 0 + 30"));
  one.step();
  one.step();
  // Position 32 of both wants a second page each, and there is one.
  CHECK_EQ(one.step(), std::string("1: 32 + 1"));
  CHECK(first.active);
  CHECK(!second.active);
  CHECK_EQ(second.preemptions, 1);
  CHECK_EQ(one.scheduler.waiting(), size_t{1});
  one.end(first);
  CHECK_EQ(one.step(), std::string("2: 32 + 1"));
  CHECK_EQ(second.cached, 0);  // as it was when it was first admitted
  CHECK_EQ(first.preemptions, 0);
}

TEST("scheduler: a request waits until its pages and one more for each that runs are free") {
  SchedulerCase one(4, 256, 4);
  one.add(1, 40);
  one.step();
  one.add(2, 60);  // two pages, and one that the first will want: three, and two are free
  CHECK_EQ(one.step(), std::string("1: 40 + 1"));
  CHECK_EQ(one.scheduler.waiting(), size_t{1});
  one.end(*one.scheduler.find(1));
  CHECK_EQ(one.step(), std::string("2: 0 + 60"));
}

TEST("scheduler: what an earlier request computed is not computed again, but with another salt or without the cache") {
  SchedulerCase one(1, 256, 16);
  one.add(1, 70, 0, 5);
  CHECK_EQ(one.step(), std::string("1: 0 + 70"));
  one.end(*one.scheduler.find(1));
  one.add(2, 70, 0, 5);
  CHECK_EQ(one.step(), std::string("2: 69 + 1"));
  CHECK_EQ(one.scheduler.find(2)->cached, 69);
  CHECK_EQ(one.scheduler.counts().cached_tokens, int64_t{69});
  CHECK_EQ(one.scheduler.counts().prompt_tokens, int64_t{140});
  one.end(*one.scheduler.find(2));
  const auto same_text = [](uint64_t id) {
    Request request;
    request.id = id;
    for (int32_t i = 0; i < 70; ++i) request.tokens.push_back(5000 + i);
    return request;
  };
  Request request = same_text(3);
  Request salted = same_text(4);
  request.prefix_cache = false;
  salted.cache_salt = "a";
  one.scheduler.add(std::move(request));
  CHECK_EQ(one.step(), std::string("3: 0 + 70"));
  one.end(*one.scheduler.find(3));
  one.scheduler.add(std::move(salted));
  CHECK_EQ(one.step(), std::string("4: 0 + 70"));
}

TEST("scheduler: a draft has rows after the answer's, and none where there is no room for it") {
  SchedulerCase one(4, 8, 1);
  one.add(1, 20);
  for (int i = 0; i < 3; ++i) one.step();
  CHECK(one.draft_limits.empty());
  one.draft_tokens = 3;
  CHECK_EQ(one.step(), std::string("1: 20 + 4"));
  CHECK(one.draft_limits == std::vector<int32_t>{7});
  one.draft_tokens = 100;
  CHECK_EQ(one.step(), std::string("1: 21 + 8"));
  one.draft_tokens = 3;
  for (int32_t position = 22; position <= 28; ++position)
    CHECK_EQ(one.step(), "1: " + std::to_string(position) + " + 4");
  // Position 32 would want a second page.
  CHECK_EQ(one.step(), std::string("1: 29 + 1"));
}

TEST("scheduler: whatever comes, every request ends, no step is too large and no page is lost") {
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    const auto max_rows = static_cast<int32_t>(1 + random() % 40);
    SchedulerCase one(static_cast<int32_t>(1 + random() % 5), max_rows, 6);
    one.draft_tokens = static_cast<int32_t>(random() % 3);
    uint64_t added = 0;
    int steps = 0;
    for (; added < 30 || !one.scheduler.idle(); ++steps) {
      if (steps == 20000) break;
      if (added < 30 && random() % 3 == 0)
        one.add(++added, static_cast<int32_t>(1 + random() % 100), static_cast<int32_t>(random() % 3), static_cast<int32_t>(random() % 4));
      one.step();
      std::vector<Sequence*> ended;
      one.scheduler.for_each([&](Sequence& sequence) {
        if (sequence.generated() >= static_cast<int32_t>(1 + sequence.request.id % 20)) ended.push_back(&sequence);
      });
      for (Sequence* sequence : ended) one.end(*sequence);
    }
    CHECK(steps < 20000);
    CHECK(one.max_rows_of_step <= max_rows);
    CHECK_EQ(one.pages.used_pages(), one.pages.idle_pages());
  }
}
