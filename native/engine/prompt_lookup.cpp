#include "engine/prompt_lookup.h"

#include <algorithm>
#include <cstddef>

namespace lowrank {
namespace {

using Tokens = std::vector<int32_t>;

// Of the token that one alone finds in a frame: further on it rather belongs to another place.
constexpr size_t kNear = 16;
constexpr size_t kMostBehindOne = 2;

// What followed the latest earlier occurrence of the last `length` tokens.
Tokens draft_from_itself(const Tokens& tokens, size_t length, size_t most) {
  if (tokens.size() <= length) return {};
  // The occurrence may overlap the end, but must not be it.
  const auto found = std::find_end(tokens.begin(), tokens.end() - 1, tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end());
  if (found == tokens.end() - 1) return {};
  // Behind the end the draft goes on with itself: a text that repeats itself goes on repeating.
  Tokens draft;
  for (auto next = static_cast<size_t>(found - tokens.begin()) + length; draft.size() < most; ++next)
    draft.push_back(next < tokens.size() ? tokens[next] : draft[next - tokens.size()]);
  return draft;
}

// What followed the next occurrence of the last `length` tokens in another text, among its next `window` tokens.
Tokens draft_from_frame(const Tokens& tokens, size_t length, size_t most, const LookupText& frame, size_t window) {
  const Tokens& text = frame.tokens;
  if (tokens.size() < length || frame.passed >= text.size()) return {};
  const size_t end = window < text.size() - frame.passed ? frame.passed + window : text.size();
  const auto text_end = text.begin() + static_cast<std::ptrdiff_t>(end);
  const auto found = std::search(text.begin() + static_cast<std::ptrdiff_t>(frame.passed), text_end,
                                 tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end());
  if (found == text_end) return {};
  frame.passed = static_cast<size_t>(found - text.begin()) + 1;
  const size_t begin = frame.passed - 1 + length;
  return {text.begin() + static_cast<std::ptrdiff_t>(begin),
          text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), begin + most))};
}

}  // namespace

std::vector<int32_t> draft_by_prompt_lookup(const std::vector<int32_t>& tokens, int32_t most, const LookupText* frame) {
  if (most <= 0) return {};
  const auto count = static_cast<size_t>(most);
  Tokens draft = draft_from_itself(tokens, 3, count);
  for (const size_t length : {size_t{3}, size_t{2}, size_t{1}})
    if (draft.empty() && frame != nullptr)
      draft = draft_from_frame(tokens, length, count, *frame, length == 1 ? kNear : frame->tokens.size());
  if (draft.empty()) draft = draft_from_itself(tokens, 2, count);
  return draft.empty() ? draft_from_itself(tokens, 1, std::min(count, kMostBehindOne)) : draft;
}

}  // namespace lowrank
