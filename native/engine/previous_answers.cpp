#include "engine/previous_answers.h"

#include <algorithm>

namespace lowrank {

PreviousAnswers::Task PreviousAnswers::task_of(const Request& request) {
  Task task{request.cache_salt, {}};
  for (const RequestAdapter& one : request.adapters) task.adapters.emplace_back(one.adapter->content, one.scale);
  return task;
}

const std::vector<int32_t>& PreviousAnswers::previous_answer(const Task& task) const {
  static const std::vector<int32_t> kNone;
  for (const Answer& answer : answers_)
    if (answer.task == task) return answer.tokens;
  return kNone;
}

void PreviousAnswers::keep(const Task& task, const int32_t* tokens, size_t count) {
  answers_.remove_if([&](const Answer& answer) { return answer.task == task; });
  answers_.push_front({task, {tokens, tokens + std::min(count, kMaxTokens)}});
  if (answers_.size() > kMaxAnswers) answers_.pop_back();
}

}  // namespace lowrank
