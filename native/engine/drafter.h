// Speculative decoding: who guesses what follows, so that one step may compute several tokens of an answer. The engine draws every
// token as if there were no guess (arXiv 2211.17192 with the same random draw), so a wrong one costs time and never changes a text.
#pragma once

#include <cstdint>
#include <vector>

namespace lowrank {

// Tokens that one step drafts for a sequence at most: with the last token they fill the rows that read the weights once.
inline constexpr int32_t kMaxDraftTokens = 7;

// Drafts for one request. Called on the engine's thread alone.
class Drafter {
 public:
  virtual ~Drafter() = default;
  // What may follow `tokens`, the prompt and the answer so far; at most max_tokens, which is above 0. Empty: no guess.
  virtual std::vector<int32_t> draft(const std::vector<int32_t>& tokens, int32_t max_tokens) = 0;
  // The whole answer, where it ended by itself or by its length.
  virtual void finished(const int32_t* answer, int32_t count) {
    static_cast<void>(answer);
    static_cast<void>(count);
  }
};

}  // namespace lowrank
