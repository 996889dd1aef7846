#include "engine/prompt_lookup.h"

#include <algorithm>
#include <cstddef>

namespace lowrank {

std::vector<int32_t> draft_by_prompt_lookup(const std::vector<int32_t>& tokens, int32_t most) {
  if (most <= 0) return {};
  for (const std::ptrdiff_t length : {std::ptrdiff_t{3}, std::ptrdiff_t{2}}) {
    if (static_cast<std::ptrdiff_t>(tokens.size()) <= length) continue;
    const auto last = tokens.end() - length;
    // The occurrence may overlap the end, but must not be it.
    const auto found = std::find_end(tokens.begin(), tokens.end() - 1, last, tokens.end());
    if (found == tokens.end() - 1) continue;
    // Behind the end the draft goes on with itself: a text that repeats itself goes on repeating.
    std::vector<int32_t> draft;
    for (auto next = static_cast<size_t>(found + length - tokens.begin()); draft.size() < static_cast<size_t>(most); ++next)
      draft.push_back(next < tokens.size() ? tokens[next] : draft[next - tokens.size()]);
    return draft;
  }
  return {};
}

}  // namespace lowrank
