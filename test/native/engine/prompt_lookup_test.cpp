#include "engine/prompt_lookup.h"

#include "check.h"
#include "engine/previous_answers.h"

using namespace lowrank;

namespace {
using Tokens = std::vector<int32_t>;
}

TEST("engine/prompt_lookup: drafts what followed the latest occurrence of the last three tokens, else of two, else of one") {
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5, 6, 1, 2, 3}, 6) == (Tokens{4, 5, 6, 1, 2, 3}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5, 6, 1, 2, 3}, 2) == (Tokens{4, 5}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3}, 1) == Tokens{9});  // the latest
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 7, 2, 3, 9, 1, 2, 3}, 1) == Tokens{4});  // three before two
  CHECK(draft_by_prompt_lookup({2, 3, 4, 1, 2, 3}, 4) == (Tokens{4, 1, 2, 3}));       // two
  CHECK(draft_by_prompt_lookup({2, 3, 4, 5, 3, 7, 8, 9, 3}, 4) == (Tokens{7, 8}));    // one, of which little is expected
  CHECK(draft_by_prompt_lookup({2, 3, 4, 5, 3}, 1) == Tokens{4});
  CHECK(draft_by_prompt_lookup({3, 4, 7, 3, 4, 9, 4}, 1) == Tokens{9});
}

TEST("engine/prompt_lookup: what followed repeats where it is shorter than the draft") {
  CHECK(draft_by_prompt_lookup({5, 5, 5, 5}, 3) == (Tokens{5, 5, 5}));
  CHECK(draft_by_prompt_lookup({1, 2, 1, 2, 1, 2}, 5) == (Tokens{1, 2, 1, 2, 1}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, 7) == (Tokens{4, 1, 2, 3, 4, 1, 2}));
}

TEST("engine/prompt_lookup: no draft without an occurrence, or where none is wanted") {
  CHECK(draft_by_prompt_lookup({}, 7).empty());
  CHECK(draft_by_prompt_lookup({1}, 7).empty());
  CHECK(draft_by_prompt_lookup({2, 1}, 7).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5}, 7).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, 0).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, -5).empty());
}

TEST("engine/prompt_lookup: a reference text's matches are taken in their order") {
  // Keys 20, 30, 40 between quotes 1 2 and values.
  const Tokens answer{1, 20, 2, 7, 1, 2, 30, 2, 8, 1, 2, 40, 2, 9};
  size_t cursor = 0;
  const ReferenceText reference{answer, cursor};
  CHECK(draft_by_prompt_lookup({5, 6, 20, 2}, 2, &reference) == (Tokens{7, 1}));
  CHECK(draft_by_prompt_lookup({5, 6, 55, 1, 2}, 2, &reference) == (Tokens{30, 2}));  // not 40
  CHECK(draft_by_prompt_lookup({5, 6, 55, 1, 2, 30, 2, 66, 1, 2}, 2, &reference) == (Tokens{40, 2}));
  CHECK_EQ(cursor, size_t{10});
  // One token finds what is near, before two of its own.
  CHECK(draft_by_prompt_lookup({40, 6, 8, 40}, 3, &reference) == (Tokens{2, 9}));
  CHECK_EQ(cursor, size_t{12});
  // After its end nothing follows but what the text itself repeats.
  cursor = answer.size();
  CHECK(draft_by_prompt_lookup({4, 1, 2, 3, 1, 2}, 1, &reference) == Tokens{3});
  CHECK(draft_by_prompt_lookup({5, 2, 9}, 3, &reference).empty());
  CHECK(draft_by_prompt_lookup({2, 9}, 3, &reference).empty());
  cursor = 100;
  CHECK(draft_by_prompt_lookup({5, 1, 2}, 3, &reference).empty());
  // Three of its own come before the other text's, two of its own after.
  cursor = 0;
  CHECK(draft_by_prompt_lookup({5, 20, 2, 77, 5, 20, 2}, 1, &reference) == Tokens{77});
  CHECK(draft_by_prompt_lookup({20, 2, 77, 5, 20, 2}, 1, &reference) == Tokens{7});
}

TEST("engine/prompt_lookup: one token finds nothing that is far ahead in a reference text") {
  Tokens answer(20, 5);
  answer[15] = 7;
  answer[16] = 8;
  size_t cursor = 0;
  const ReferenceText reference{answer, cursor};
  CHECK(draft_by_prompt_lookup({1, 2, 8}, 3, &reference).empty());
  CHECK_EQ(cursor, size_t{0});
  CHECK(draft_by_prompt_lookup({1, 2, 7}, 3, &reference) == (Tokens{8, 5, 5}));
  CHECK_EQ(cursor, size_t{16});
  CHECK(draft_by_prompt_lookup({1, 2, 5}, 7, &reference) == (Tokens{5, 5}));
}

TEST("engine/previous_answers: the last one under each salt and choice of adapters, of a bounded number") {
  PreviousAnswers answers;
  std::vector<std::shared_ptr<const Adapter>> adapters;
  for (int i = 0; i < 40; ++i) adapters.push_back(std::make_shared<Adapter>());
  const auto task = [&](size_t i, float scale = 1, const char* salt = "") {
    Request asked;
    asked.adapters = {{adapters[i], scale, 0}};
    asked.cache_salt = salt;
    return PreviousAnswers::task_of(asked);
  };
  const Tokens first{1, 2, 3}, second{4, 5};
  CHECK(answers.previous_answer(task(0)).empty());
  answers.keep(task(0), first.data(), first.size());
  CHECK(answers.previous_answer(task(0)) == first);
  CHECK(answers.previous_answer(task(1)).empty());
  CHECK(answers.previous_answer(task(0, 0.5f)).empty());
  CHECK(answers.previous_answer(task(0, 1, "b")).empty());
  answers.keep(task(0, 1, "b"), second.data(), second.size());
  CHECK(answers.previous_answer(task(0)) == first);
  CHECK(answers.previous_answer(task(0, 1, "b")) == second);
  answers.keep(task(0), second.data(), second.size());
  CHECK(answers.previous_answer(task(0)) == second);
  for (size_t i = 1; i < adapters.size(); ++i) answers.keep(task(i), first.data(), first.size());
  CHECK(answers.previous_answer(task(0)).empty());
  CHECK(answers.previous_answer(task(39)) == first);
  const Tokens longest(10000, 1);
  answers.keep(task(0), longest.data(), longest.size());
  CHECK_EQ(answers.previous_answer(task(0)).size(), size_t{4096});
}

TEST("engine/previous_answers: adapters are told apart by their content, not by where they lie") {
  PreviousAnswers answers;
  const Tokens first{1, 2, 3};
  const auto task = [&](const char* content) {
    auto adapter = std::make_shared<Adapter>();
    adapter->content = content;
    Request asked;
    asked.adapters = {{adapter, 1, 0}};
    return PreviousAnswers::task_of(asked);
  };
  answers.keep(task("a"), first.data(), first.size());
  CHECK(answers.previous_answer(task("a")) == first);
  CHECK(answers.previous_answer(task("b")).empty());
}
