// Prompt-lookup drafts: where the last tokens of a sequence occurred before, what followed there is likely to follow again
// (Saxena, "Prompt Lookup Decoding", 2023: github.com/apoorvumang/prompt-lookup-decoding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lowrank {

// Most tokens that one step drafts: with the last token they fill the rows that read the weights once.
inline constexpr int32_t kMaxDraftTokens = 7;

// Another text in which what follows may stand, with how far it has been gone through: its matches are taken in their order.
struct LookupText {
  const std::vector<int32_t>& tokens;
  size_t& passed;
};

// The `most` tokens that followed
//   the latest earlier occurrence of the last three tokens,
//   else the next occurrence in `frame` of the last three, else of the last two, else of the last one if it is near,
//   else the latest earlier occurrence of the last two, else of the last one: then two tokens at most;
// none where there is no such occurrence. Where fewer followed an earlier occurrence, they are taken to repeat.
// One token finds what a frame and the prompt's values meet in: the comma behind a value, the second piece of a name. It is
// wrong often, but up to four rows read the weights in about the time of one.
std::vector<int32_t> draft_by_prompt_lookup(const std::vector<int32_t>& tokens, int32_t most, const LookupText* frame = nullptr);

}  // namespace lowrank
