// The constraint of an answer that is one of several given token sequences.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "engine/token_constraint.h"

namespace lowrank {

// Choices are sorted, so those that begin with the accepted tokens are a range, which each token narrows: a trie without nodes.
// Where one choice begins another, an end token after it chooses the shorter one.
class TokenChoices final : public TokenConstraint {
 public:
  static constexpr size_t kMaxChoices = 1024;
  static constexpr size_t kMaxTokens = size_t{1} << 16;  // of all choices

  // Throws Error(kInvalidArgument): no choice, an empty one, more than the maximum, a token outside of the vocabulary, an end token
  // within a choice, or a choice that begins another one without an end token to tell them apart. Equal choices count once.
  TokenChoices(std::vector<std::vector<int32_t>> choices, std::vector<int32_t> end_tokens, int32_t vocabulary);

  bool fill_allowed(uint8_t* allowed) const override;
  bool accept(int32_t token) override;
  void rollback(int32_t count) override;
  bool complete() const override { return choices_[range().begin].size() == depth() && range().end - range().begin == 1; }

 private:
  struct Range {
    size_t begin, end;  // into choices_
  };
  const Range& range() const { return ranges_.back(); }
  size_t depth() const { return ranges_.size() - 1; }
  // Whether the accepted tokens are a whole choice; of a range the shortest is the first.
  bool may_end() const { return choices_[range().begin].size() == depth(); }
  // The choices of the range whose next token is this one.
  Range narrowed(int32_t token) const;

  std::vector<std::vector<int32_t>> choices_;
  std::vector<int32_t> end_tokens_;
  int32_t vocabulary_;
  std::vector<Range> ranges_;  // [accepted tokens + 1]
};

}  // namespace lowrank
