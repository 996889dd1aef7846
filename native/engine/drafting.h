// Speculative decoding of one sequence: what a step tries after the last token, and what came of it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/sequence.h"

namespace lowrank {

// Tokens that the next step tries after the last one of a decoding sequence: what its drafter guesses, as far as its constraint
// allows it and tokens may follow; at most `max_tokens`, which may be below 0.
std::vector<int32_t> draft_of(Sequence& sequence, int32_t max_tokens);

// Whether the row at `position` was computed from the tokens that the sequence has now.
bool follows(const Sequence& sequence, int32_t position);

// The drafted tokens from the end of the sequence to `position`: what the row there was computed from beside the sequence's own.
std::vector<int32_t> drafted_until(const Sequence& sequence, int32_t position);

// Forgets the positions of drafted tokens that were not drawn, and sets the length of the next draft.
void settle_draft(Sequence& sequence);

}  // namespace lowrank
