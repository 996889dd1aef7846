// The tokens of a row of logits, most likely first and ties by id, found as they are asked for: a draw seldom needs more than a
// few of a vocabulary.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace lowrank {

using LogitAndId = std::pair<float, int32_t>;

inline bool likelier(const LogitAndId& a, const LogitAndId& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

class LikeliestFirst {
 public:
  // `peak`: the highest logit, finite. `width`: how far below it the first search goes; each further one goes twice as
  // far. `found` is room to work in. Tokens of a logit of minus infinity never come.
  LikeliestFirst(const float* logits, int32_t count, float peak, float width, std::vector<LogitAndId>& found)
      : logits_(logits), count_(count), peak_(peak), width_(std::max(width, kLeastWidth)), found_(found) {
    found_.clear();
  }

  // Null after the last.
  const LogitAndId* next() {
    while (at_ == found_.size()) {
      if (searched_ == -kInfinity) return nullptr;
      search();
    }
    return &found_[at_++];
  }

 private:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static constexpr float kLeastWidth = 1e-3f;

  // The tokens between the last bound and the next one.
  void search() {
    const float bound = width_ < 1e30f ? peak_ - width_ : -kInfinity;
    found_.clear();
    at_ = 0;
    for (int32_t id = 0; id < count_; ++id)
      if (logits_[id] >= bound && logits_[id] < searched_ && logits_[id] != -kInfinity) found_.emplace_back(logits_[id], id);
    std::sort(found_.begin(), found_.end(), likelier);
    searched_ = bound;
    width_ *= 2;
  }

  const float* logits_;
  const int32_t count_;
  const float peak_;
  float width_;
  float searched_ = kInfinity;  // all from here on have come
  std::vector<LogitAndId>& found_;
  size_t at_ = 0;
};

}  // namespace lowrank
