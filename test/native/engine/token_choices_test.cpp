#include "engine/token_choices.h"

#include <algorithm>
#include <iterator>
#include <random>
#include <set>

#include "check.h"

using namespace lowrank;

namespace {

using Tokens = std::vector<int32_t>;
constexpr int32_t kVocabulary = 50;
constexpr int32_t kEnd = 9;

std::set<int32_t> allowed(const TokenConstraint& constraint) {
  std::vector<uint8_t> mask(kVocabulary, 7);
  CHECK(constraint.fill_allowed(mask.data()));
  std::set<int32_t> ids;
  for (int32_t id = 0; id < kVocabulary; ++id) {
    CHECK(mask[static_cast<size_t>(id)] <= 1);
    if (mask[static_cast<size_t>(id)] == 1) ids.insert(id);
  }
  return ids;
}

TokenChoices choices(std::vector<Tokens> list, Tokens end_tokens = {kEnd}) {
  return TokenChoices(std::move(list), std::move(end_tokens), kVocabulary);
}

}  // namespace

TEST("engine/token_choices: each token narrows the choices, and the last of one completes it") {
  TokenChoices one = choices({{5, 2}, {1, 2, 3}, {1, 2, 4}, {1, 7}});
  CHECK(allowed(one) == (std::set<int32_t>{1, 5}));
  CHECK(!one.accept(2));
  CHECK(!one.accept(kEnd));
  CHECK(one.accept(1));
  CHECK(allowed(one) == (std::set<int32_t>{2, 7}));
  CHECK(one.accept(2));
  CHECK(allowed(one) == (std::set<int32_t>{3, 4}));
  CHECK(!one.complete());
  CHECK(one.accept(4));
  CHECK(one.complete());
  CHECK(!one.accept(4));
  one.rollback(2);
  CHECK(!one.complete());
  CHECK(one.accept(7));
  CHECK(one.complete());
  one.rollback(2);
  CHECK(allowed(one) == (std::set<int32_t>{1, 5}));
}

TEST("engine/token_choices: where one begins another, an end token chooses the shorter one; equal ones count once") {
  TokenChoices one = choices({{1, 2}, {1}, {1, 2, 3}, {1, 2}, {1}}, {kEnd, 11});
  CHECK(one.accept(1));
  CHECK(!one.complete());
  CHECK(allowed(one) == (std::set<int32_t>{2, kEnd, 11}));
  CHECK(!one.accept(kEnd));  // it ends the answer and is no part of a choice
  CHECK(one.accept(2));
  CHECK(allowed(one) == (std::set<int32_t>{3, kEnd, 11}));
  CHECK(one.accept(3));
  CHECK(one.complete());
  TokenChoices same = choices({{4, 4}, {4, 4}});
  CHECK(same.accept(4) && same.accept(4));
  CHECK(same.complete());
}

TEST("engine/token_choices: refuses what would allow nothing, write outside of the mask or take long") {
  CHECK_THROWS_CODE(choices({}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{1}, {}}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{-1}}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{kVocabulary}}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{1}, {1, 2}}, {kVocabulary}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{1}, {1, 2}}, {-1}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{1, kEnd}}), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({{3}, {1, 2}, {1}}, {}), ErrorCode::kInvalidArgument);
  CHECK_EQ(allowed(choices({{3}, {1, 2}}, {})).size(), size_t{2});
  CHECK_THROWS_CODE(choices(std::vector<Tokens>(TokenChoices::kMaxChoices + 1, Tokens{1})), ErrorCode::kInvalidArgument);
  CHECK_THROWS_CODE(choices({Tokens(TokenChoices::kMaxTokens + 1, 1)}), ErrorCode::kInvalidArgument);
  CHECK_EQ(allowed(choices({Tokens(TokenChoices::kMaxTokens, 1)})).size(), size_t{1});
}

TEST("engine/token_choices: any walk allows exactly the tokens that continue a choice") {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<Tokens> list(1 + random() % 12);
    for (Tokens& one : list)
      for (size_t left = 1 + random() % 5; left > 0; --left) one.push_back(static_cast<int32_t>(random() % 3));
    TokenChoices constraint = choices(list);
    Tokens walked;
    for (int step = 0; step < 30; ++step) {
      std::set<int32_t> expected;
      bool whole = false;
      for (const Tokens& one : list) {
        if (one.size() < walked.size() || !std::equal(walked.begin(), walked.end(), one.begin())) continue;
        if (one.size() == walked.size())
          whole = true;
        else
          expected.insert(one[walked.size()]);
      }
      CHECK_EQ(constraint.complete(), whole && expected.empty());
      if (!constraint.complete()) {
        std::set<int32_t> with_end = expected;
        if (whole) with_end.insert(kEnd);
        CHECK(allowed(constraint) == with_end);
      }
      for (int32_t token = 0; token < 4; ++token) {
        const bool accepted = constraint.accept(token);
        CHECK_EQ(accepted, expected.count(token) == 1);
        if (accepted) constraint.rollback(1);
      }
      if (constraint.complete() || random() % 4 == 0) {
        const size_t back = walked.empty() ? 0 : random() % walked.size() + 1;
        constraint.rollback(static_cast<int32_t>(back));
        walked.resize(walked.size() - back);
        continue;
      }
      auto next = expected.begin();
      std::advance(next, static_cast<int>(random() % expected.size()));
      CHECK(constraint.accept(*next));
      walked.push_back(*next);
    }
  }
}
