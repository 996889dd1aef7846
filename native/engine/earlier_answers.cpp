#include "engine/earlier_answers.h"

#include <algorithm>

namespace lowrank {

EarlierAnswers::Key EarlierAnswers::key_of(const Request& request) {
  Key key{request.cache_salt, {}};
  for (const RequestAdapter& one : request.adapters) key.adapters.emplace_back(one.adapter->content, one.scale);
  return key;
}

const std::vector<int32_t>& EarlierAnswers::like(const Request& request) const {
  static const std::vector<int32_t> kNone;
  const Key key = key_of(request);
  for (const Answer& answer : answers_)
    if (answer.key == key) return answer.tokens;
  return kNone;
}

void EarlierAnswers::keep(const Request& request, const int32_t* tokens, size_t count) {
  Key key = key_of(request);
  answers_.remove_if([&](const Answer& answer) { return answer.key == key; });
  answers_.push_front({std::move(key), {tokens, tokens + std::min(count, kMaxTokens)}});
  if (answers_.size() > kMaxAnswers) answers_.pop_back();
}

}  // namespace lowrank
