// Prompt-lookup drafts: where the last tokens of a sequence occurred before, what followed there is likely to follow again
// (Saxena, "Prompt Lookup Decoding", 2023: github.com/apoorvumang/prompt-lookup-decoding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/drafter.h"
#include "engine/previous_answers.h"

namespace lowrank {

// A second text to draft from, such as the previous answer; matched in order from `cursor`, which moves behind each match.
struct ReferenceText {
  const std::vector<int32_t>& tokens;
  size_t& cursor;
};

// The max_tokens tokens that followed
//   the latest earlier occurrence of the last three tokens,
//   else the next occurrence in `reference` of the last three, else of the last two, else of the last one if it is near,
//   else the latest earlier occurrence of the last two, else of the last one: then two tokens at most;
// none where there is no such occurrence. Where fewer followed an earlier occurrence, they are taken to repeat.
// One token finds what a reference and the prompt's values meet in: the comma behind a value, the second piece of a name. It is
// wrong often, but up to four rows read the weights in about the time of one.
std::vector<int32_t> draft_by_prompt_lookup(const std::vector<int32_t>& tokens, int32_t max_tokens,
                                            const ReferenceText* reference = nullptr);

// Drafts by prompt lookup for this request, also from the previous answer of its task where it has adapters. `answers`: shared by
// the requests of one engine.
std::unique_ptr<Drafter> prompt_lookup_drafter(std::shared_ptr<PreviousAnswers> answers, const Request& request);

}  // namespace lowrank
