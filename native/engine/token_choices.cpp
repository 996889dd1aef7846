#include "engine/token_choices.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"

namespace lowrank {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }

void check_token(int32_t token, int32_t vocabulary) {
  if (token < 0 || token >= vocabulary)
    refuse("Expected token ids from 0 to " + std::to_string(vocabulary - 1) + " for choices, received " + std::to_string(token) + ".");
}

// `end_tokens` are sorted.
void check(const std::vector<std::vector<int32_t>>& choices, const std::vector<int32_t>& end_tokens, int32_t vocabulary) {
  for (const int32_t token : end_tokens) check_token(token, vocabulary);
  if (choices.empty() || choices.size() > TokenChoices::kMaxChoices)
    refuse("Expected 1 to " + std::to_string(TokenChoices::kMaxChoices) + " choices, received " + std::to_string(choices.size()) + ".");
  size_t tokens = 0;
  for (const auto& choice : choices) {
    if (choice.empty()) refuse("Expected at least one token for each choice.");
    tokens += choice.size();
    for (const int32_t token : choice) {
      check_token(token, vocabulary);
      if (std::binary_search(end_tokens.begin(), end_tokens.end(), token))
        refuse("Expected choices without the tokens that end a generation, received " + std::to_string(token) +
               ". Leave it out of stopTokens, or out of the choice.");
    }
  }
  if (tokens > TokenChoices::kMaxTokens)
    refuse("Expected at most " + std::to_string(TokenChoices::kMaxTokens) + " tokens for all choices, received " + std::to_string(tokens) + ".");
}

}  // namespace

TokenChoices::TokenChoices(std::vector<std::vector<int32_t>> choices, std::vector<int32_t> end_tokens, int32_t vocabulary)
    : choices_(std::move(choices)), end_tokens_(std::move(end_tokens)), vocabulary_(vocabulary) {
  std::sort(end_tokens_.begin(), end_tokens_.end());
  check(choices_, end_tokens_, vocabulary);
  std::sort(choices_.begin(), choices_.end());
  choices_.erase(std::unique(choices_.begin(), choices_.end()), choices_.end());
  if (end_tokens_.empty())
    // What a choice begins with, and is sorted before it, stands right before it or before others with the same beginning.
    for (size_t i = 1; i < choices_.size(); ++i)
      if (choices_[i].size() > choices_[i - 1].size() &&
          std::equal(choices_[i - 1].begin(), choices_[i - 1].end(), choices_[i].begin()))
        refuse("Expected an end token for choices of which one begins another, received none. Add one to stopTokens, or leave one of them out.");
  ranges_.push_back({0, choices_.size()});
}

TokenChoices::Range TokenChoices::narrowed(int32_t token) const {
  const size_t at = depth();
  const auto first = choices_.begin() + static_cast<std::ptrdiff_t>(range().begin + (may_end() ? 1 : 0));
  const auto last = choices_.begin() + static_cast<std::ptrdiff_t>(range().end);
  const auto begin = std::lower_bound(first, last, token, [at](const auto& choice, int32_t id) { return choice[at] < id; });
  const auto end = std::upper_bound(begin, last, token, [at](int32_t id, const auto& choice) { return id < choice[at]; });
  return {static_cast<size_t>(begin - choices_.begin()), static_cast<size_t>(end - choices_.begin())};
}

bool TokenChoices::fill_allowed(uint8_t* allowed) const {
  std::memset(allowed, 0, static_cast<size_t>(vocabulary_));
  const size_t first = range().begin + (may_end() ? 1 : 0);
  for (size_t i = first; i < range().end;) {
    const int32_t token = choices_[i][depth()];
    allowed[token] = 1;
    i = narrowed(token).end;
  }
  if (may_end())
    for (const int32_t token : end_tokens_) allowed[token] = 1;
  return true;
}

bool TokenChoices::accept(int32_t token) {
  const Range next = narrowed(token);
  if (next.begin == next.end) return false;
  ranges_.push_back(next);
  return true;
}

void TokenChoices::rollback(int32_t count) { ranges_.resize(ranges_.size() - static_cast<size_t>(count)); }

}  // namespace lowrank
