// The last answer under each salt and choice of adapters: answers of one task have the same frame, such as the keys of a JSON object,
// and prompt lookup drafts from it. Answers of other salts are never looked up, since the number of accepted drafts would tell of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace lowrank {

class EarlierAnswers {
 public:
  // The last answer to a request with the same salt, adapter contents and scales. Empty where there is none.
  const std::vector<int32_t>& like(const Request& request) const;
  // Keeps the first tokens of an answer in place of the last one to such a request.
  void keep(const Request& request, const int32_t* tokens, size_t count);

 private:
  struct Key {
    std::string salt;
    std::vector<std::pair<std::string, float>> adapters;  // content, scale
    bool operator==(const Key&) const = default;
  };
  struct Answer {
    Key key;
    std::vector<int32_t> tokens;
  };
  static Key key_of(const Request& request);
  static constexpr size_t kMaxAnswers = 16;
  static constexpr size_t kMaxTokens = 4096;

  std::list<Answer> answers_;  // the latest first
};

}  // namespace lowrank
