#include "engine/prompt_lookup.h"

#include "check.h"
#include "engine/earlier_answers.h"

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

TEST("engine/prompt_lookup: an earlier answer's matches are taken in their order") {
  // Keys 20, 30, 40 between quotes 1 2 and values.
  const Tokens answer{1, 20, 2, 7, 1, 2, 30, 2, 8, 1, 2, 40, 2, 9};
  size_t passed = 0;
  const LookupText frame{answer, passed};
  CHECK(draft_by_prompt_lookup({5, 6, 20, 2}, 2, &frame) == (Tokens{7, 1}));
  CHECK(draft_by_prompt_lookup({5, 6, 55, 1, 2}, 2, &frame) == (Tokens{30, 2}));  // not 40
  CHECK(draft_by_prompt_lookup({5, 6, 55, 1, 2, 30, 2, 66, 1, 2}, 2, &frame) == (Tokens{40, 2}));
  CHECK_EQ(passed, size_t{10});
  // One token finds what is near, before two of its own.
  CHECK(draft_by_prompt_lookup({40, 6, 8, 40}, 3, &frame) == (Tokens{2, 9}));
  CHECK_EQ(passed, size_t{12});
  // Behind its end nothing follows but what the text itself repeats.
  passed = answer.size();
  CHECK(draft_by_prompt_lookup({4, 1, 2, 3, 1, 2}, 1, &frame) == Tokens{3});
  CHECK(draft_by_prompt_lookup({5, 2, 9}, 3, &frame).empty());
  CHECK(draft_by_prompt_lookup({2, 9}, 3, &frame).empty());
  passed = 100;
  CHECK(draft_by_prompt_lookup({5, 1, 2}, 3, &frame).empty());
  // Three of its own come before the other text's, two of its own behind.
  passed = 0;
  CHECK(draft_by_prompt_lookup({5, 20, 2, 77, 5, 20, 2}, 1, &frame) == Tokens{77});
  CHECK(draft_by_prompt_lookup({20, 2, 77, 5, 20, 2}, 1, &frame) == Tokens{7});
}

TEST("engine/prompt_lookup: one token finds nothing that is far ahead in an earlier answer") {
  Tokens answer(20, 5);
  answer[15] = 7;
  answer[16] = 8;
  size_t passed = 0;
  const LookupText frame{answer, passed};
  CHECK(draft_by_prompt_lookup({1, 2, 8}, 3, &frame).empty());
  CHECK_EQ(passed, size_t{0});
  CHECK(draft_by_prompt_lookup({1, 2, 7}, 3, &frame) == (Tokens{8, 5, 5}));
  CHECK_EQ(passed, size_t{16});
  CHECK(draft_by_prompt_lookup({1, 2, 5}, 7, &frame) == (Tokens{5, 5}));
}

TEST("engine/earlier_answers: the last one under each salt and choice of adapters, of a bounded number") {
  EarlierAnswers answers;
  std::vector<std::shared_ptr<const Adapter>> adapters;
  for (int i = 0; i < 40; ++i) adapters.push_back(std::make_shared<Adapter>());
  const auto request = [&](size_t i, float scale = 1, const char* salt = "") {
    Request asked;
    asked.adapters = {{adapters[i], scale, 0}};
    asked.cache_salt = salt;
    return asked;
  };
  const Tokens first{1, 2, 3}, second{4, 5};
  CHECK(answers.like(request(0)).empty());
  answers.keep(request(0), first.data(), first.size());
  CHECK(answers.like(request(0)) == first);
  CHECK(answers.like(request(1)).empty());
  CHECK(answers.like(request(0, 0.5f)).empty());
  CHECK(answers.like(request(0, 1, "b")).empty());
  answers.keep(request(0, 1, "b"), second.data(), second.size());
  CHECK(answers.like(request(0)) == first);
  CHECK(answers.like(request(0, 1, "b")) == second);
  answers.keep(request(0), second.data(), second.size());
  CHECK(answers.like(request(0)) == second);
  for (size_t i = 1; i < adapters.size(); ++i) answers.keep(request(i), first.data(), first.size());
  CHECK(answers.like(request(0)).empty());
  CHECK(answers.like(request(39)) == first);
  const Tokens longest(10000, 1);
  answers.keep(request(0), longest.data(), longest.size());
  CHECK_EQ(answers.like(request(0)).size(), size_t{4096});
}

TEST("engine/earlier_answers: adapters are told apart by their content, not by where they lie") {
  EarlierAnswers answers;
  const Tokens first{1, 2, 3};
  const auto request = [&](const char* content) {
    auto adapter = std::make_shared<Adapter>();
    adapter->content = content;
    Request asked;
    asked.adapters = {{adapter, 1, 0}};
    return asked;
  };
  answers.keep(request("a"), first.data(), first.size());
  CHECK(answers.like(request("a")) == first);
  CHECK(answers.like(request("b")).empty());
}
