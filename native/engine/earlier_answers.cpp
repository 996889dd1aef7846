#include "engine/earlier_answers.h"

#include <algorithm>

namespace lowrank {

EarlierAnswers::Key EarlierAnswers::key_of(const std::vector<RequestAdapter>& adapters) {
  Key key;
  for (const RequestAdapter& one : adapters) key.emplace_back(one.adapter.get(), one.scale);
  return key;
}

const std::vector<int32_t>& EarlierAnswers::under(const std::vector<RequestAdapter>& adapters) const {
  static const std::vector<int32_t> kNone;
  const Key key = key_of(adapters);
  for (const Answer& answer : answers_)
    if (answer.key == key) return answer.tokens;
  return kNone;
}

void EarlierAnswers::keep(const std::vector<RequestAdapter>& adapters, const int32_t* tokens, size_t count) {
  const Key key = key_of(adapters);
  answers_.remove_if([&](const Answer& answer) { return answer.key == key; });
  answers_.push_front({key, {tokens, tokens + std::min(count, kMostTokens)}});
  if (answers_.size() > kMostAnswers) answers_.pop_back();
}

}  // namespace lowrank
