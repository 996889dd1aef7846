// The last answer of each task: answers under the same adapters have the same frame, such as the keys of a JSON object, and prompt
// lookup drafts from it. Answers of other salts are never looked up, since the number of accepted drafts would tell of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "engine/request.h"

namespace lowrank {

// Used by one engine's thread, but for `task_of`.
class PreviousAnswers {
 public:
  // What makes two requests ones of the same task.
  struct Task {
    std::string salt;
    std::vector<std::pair<std::string, float>> adapters;  // content, scale
    bool operator==(const Task&) const = default;
  };
  static Task task_of(const Request& request);

  // Empty where there is none. Valid until the next call of `keep`.
  const std::vector<int32_t>& previous_answer(const Task& task) const;
  // Keeps the first tokens of an answer in place of the last one.
  void keep(const Task& task, const int32_t* tokens, size_t count);

 private:
  struct Answer {
    Task task;
    std::vector<int32_t> tokens;
  };
  static constexpr size_t kMaxAnswers = 16;
  static constexpr size_t kMaxTokens = 4096;

  std::list<Answer> answers_;  // the latest first
};

}  // namespace lowrank
