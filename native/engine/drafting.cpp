#include "engine/drafting.h"

#include <algorithm>

namespace lowrank {
namespace {

// Drafts are not cut below this: up to four rows read the weights in about the time of one.
constexpr int32_t kMinDraftTokens = 3;

int32_t draft_begin(const Sequence& sequence) { return sequence.computed - static_cast<int32_t>(sequence.draft.size()); }

// Cuts what the constraint would never let follow, or what would end the answer: a row after it would be worthless.
void cut_to_constraint(std::vector<int32_t>& draft, TokenConstraint& constraint) {
  int32_t accepted = 0;
  bool complete = false;
  for (const int32_t token : draft) {
    if (!constraint.accept(token)) break;
    ++accepted;
    if ((complete = constraint.complete())) break;
  }
  constraint.rollback(accepted);
  draft.resize(static_cast<size_t>(complete ? accepted - 1 : accepted));
}

}  // namespace

std::vector<int32_t> draft_of(Sequence& sequence, int32_t max_tokens) {
  const Request& request = sequence.request;
  if (request.drafter == nullptr) return {};
  max_tokens = std::min({max_tokens, request.max_draft_tokens, sequence.draft_limit, request.max_tokens - sequence.generated() - 1});
  if (max_tokens <= 0) return {};
  std::vector<int32_t> draft = request.drafter->draft(sequence.tokens, max_tokens);
  if (request.constraint != nullptr) cut_to_constraint(draft, *request.constraint);
  return draft;
}

bool follows(const Sequence& sequence, int32_t position) {
  if (position + 1 != sequence.length()) return false;
  // A draft lies in the last positions that were computed.
  const int32_t at = position - draft_begin(sequence);
  return at < 0 || sequence.draft[static_cast<size_t>(at)] == sequence.tokens.back();
}

std::vector<int32_t> drafted_until(const Sequence& sequence, int32_t position) {
  if (position < sequence.length()) return {};
  const auto at = [&](int32_t place) { return sequence.draft.begin() + (place - draft_begin(sequence)); };
  return {at(sequence.length()), at(position + 1)};
}

void settle_draft(Sequence& sequence) {
  if (sequence.draft.empty()) return;
  const auto drafted = static_cast<int32_t>(sequence.draft.size());
  const int32_t accepted = std::max(0, sequence.length() - 1 - draft_begin(sequence));
  sequence.drafted += drafted;
  sequence.accepted += accepted;
  sequence.draft_limit = accepted == drafted ? std::min(2 * sequence.draft_limit, kMaxDraftTokens) : std::max(accepted + 1, kMinDraftTokens);
  sequence.computed = sequence.length() - 1;
  sequence.draft.clear();
}

}  // namespace lowrank
