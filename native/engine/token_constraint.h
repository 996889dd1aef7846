// What a request's answer may consist of, decided token by token: a list of choices, later a grammar.
#pragma once

#include <cstdint>

namespace lowrank {

// The state of one answer. Called on the engine's thread alone, so every call must be cheap: one per row that draws a token.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  // Fills allowed [vocabulary]: 1 where the next token may be this one, else 0; at least one is 1. Returns false, and need fill
  // nothing, where all may. Not called once the answer is complete.
  virtual bool fill_allowed(uint8_t* allowed) const = 0;
  // Advances by one token. Returns false, and stays where it is, where the token is not allowed.
  virtual bool accept(int32_t token) = 0;
  // Takes back the last `count` accepted tokens.
  virtual void rollback(int32_t count) = 0;
  // Nothing may follow: the answer ends without an end token.
  virtual bool complete() const = 0;
};

}  // namespace lowrank
