#include "engine/prompt_lookup.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace lowrank {
namespace {

using Tokens = std::vector<int32_t>;

// Of the token that one alone finds in a reference text: further on it rather belongs to another place.
constexpr size_t kNear = 16;
constexpr size_t kMaxAfterOne = 2;

// What followed the latest earlier occurrence of the last `length` tokens.
Tokens draft_from_itself(const Tokens& tokens, size_t length, size_t max_tokens) {
  if (tokens.size() <= length) return {};
  // The occurrence may overlap the end, but must not be it.
  const auto found = std::find_end(tokens.begin(), tokens.end() - 1, tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end());
  if (found == tokens.end() - 1) return {};
  // After the end the draft goes on with itself: a text that repeats itself goes on repeating.
  Tokens draft;
  for (auto next = static_cast<size_t>(found - tokens.begin()) + length; draft.size() < max_tokens; ++next)
    draft.push_back(next < tokens.size() ? tokens[next] : draft[next - tokens.size()]);
  return draft;
}

// What followed the next occurrence of the last `length` tokens in another text, among its next `window` tokens.
Tokens draft_from_reference(const Tokens& tokens, size_t length, size_t max_tokens, const ReferenceText& reference, size_t window) {
  const Tokens& text = reference.tokens;
  if (tokens.size() < length || reference.cursor >= text.size()) return {};
  const size_t end = window < text.size() - reference.cursor ? reference.cursor + window : text.size();
  const auto text_end = text.begin() + static_cast<std::ptrdiff_t>(end);
  const auto found = std::search(text.begin() + static_cast<std::ptrdiff_t>(reference.cursor), text_end,
                                 tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end());
  if (found == text_end) return {};
  reference.cursor = static_cast<size_t>(found - text.begin()) + 1;
  const size_t begin = reference.cursor - 1 + length;
  return {text.begin() + static_cast<std::ptrdiff_t>(begin),
          text.begin() + static_cast<std::ptrdiff_t>(std::min(text.size(), begin + max_tokens))};
}

class PromptLookupDrafter final : public Drafter {
 public:
  PromptLookupDrafter(std::shared_ptr<PreviousAnswers> answers, const Request& request)
      : answers_(request.adapters.empty() ? nullptr : std::move(answers)), task_(PreviousAnswers::task_of(request)) {}

  std::vector<int32_t> draft(const std::vector<int32_t>& tokens, int32_t max_tokens) override {
    if (answers_ == nullptr) return draft_by_prompt_lookup(tokens, max_tokens);
    const ReferenceText reference = {answers_->previous_answer(task_), cursor_};
    return draft_by_prompt_lookup(tokens, max_tokens, &reference);
  }
  void finished(const int32_t* answer, int32_t count) override {
    if (answers_ != nullptr) answers_->keep(task_, answer, static_cast<size_t>(count));
  }

 private:
  const std::shared_ptr<PreviousAnswers> answers_;
  const PreviousAnswers::Task task_;
  size_t cursor_ = 0;  // into the previous answer
};

}  // namespace

std::vector<int32_t> draft_by_prompt_lookup(const std::vector<int32_t>& tokens, int32_t max_tokens, const ReferenceText* reference) {
  if (max_tokens <= 0) return {};
  const auto count = static_cast<size_t>(max_tokens);
  Tokens draft = draft_from_itself(tokens, 3, count);
  for (const size_t length : {size_t{3}, size_t{2}, size_t{1}})
    if (draft.empty() && reference != nullptr)
      draft = draft_from_reference(tokens, length, count, *reference, length == 1 ? kNear : reference->tokens.size());
  if (draft.empty()) draft = draft_from_itself(tokens, 2, count);
  return draft.empty() ? draft_from_itself(tokens, 1, std::min(count, kMaxAfterOne)) : draft;
}

std::unique_ptr<Drafter> prompt_lookup_drafter(std::shared_ptr<PreviousAnswers> answers, const Request& request) {
  return std::make_unique<PromptLookupDrafter>(std::move(answers), request);
}

}  // namespace lowrank
