// The last answer under each choice of adapters: answers of one task have the same frame, such as the keys of a JSON object, and
// prompt lookup drafts from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace lowrank {

class EarlierAnswers {
 public:
  // Empty where there is none.
  const std::vector<int32_t>& under(const std::vector<RequestAdapter>& adapters) const;
  // Keeps the first tokens of an answer in place of the last one under these adapters.
  void keep(const std::vector<RequestAdapter>& adapters, const int32_t* tokens, size_t count);

 private:
  // Adapters are only told apart by it, never read: one that has gone is no harm.
  using Key = std::vector<std::pair<const void*, float>>;
  struct Answer {
    Key key;
    std::vector<int32_t> tokens;
  };
  static Key key_of(const std::vector<RequestAdapter>& adapters);
  static constexpr size_t kMostAnswers = 16;
  static constexpr size_t kMostTokens = 4096;

  std::list<Answer> answers_;  // the latest first
};

}  // namespace lowrank
