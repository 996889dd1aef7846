#include "engine/prompt_lookup.h"

#include "check.h"

using namespace lowrank;

namespace {
using Tokens = std::vector<int32_t>;
}

TEST("engine/prompt_lookup: drafts what followed the latest occurrence of the last three tokens, else of two") {
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5, 6, 1, 2, 3}, 6) == (Tokens{4, 5, 6, 1, 2, 3}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5, 6, 1, 2, 3}, 2) == (Tokens{4, 5}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3}, 1) == Tokens{9});  // the latest
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 7, 2, 3, 9, 1, 2, 3}, 1) == Tokens{4});  // three before two
  CHECK(draft_by_prompt_lookup({2, 3, 4, 1, 2, 3}, 4) == (Tokens{4, 1, 2, 3}));       // two
}

TEST("engine/prompt_lookup: what followed repeats where it is shorter than the draft") {
  CHECK(draft_by_prompt_lookup({5, 5, 5, 5}, 3) == (Tokens{5, 5, 5}));
  CHECK(draft_by_prompt_lookup({1, 2, 1, 2, 1, 2}, 5) == (Tokens{1, 2, 1, 2, 1}));
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, 7) == (Tokens{4, 1, 2, 3, 4, 1, 2}));
}

TEST("engine/prompt_lookup: no draft without an occurrence, or where none is wanted") {
  CHECK(draft_by_prompt_lookup({}, 7).empty());
  CHECK(draft_by_prompt_lookup({1}, 7).empty());
  CHECK(draft_by_prompt_lookup({1, 1}, 7).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 5}, 7).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, 0).empty());
  CHECK(draft_by_prompt_lookup({1, 2, 3, 4, 1, 2, 3}, -5).empty());
}
