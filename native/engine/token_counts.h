// How often tokens have occurred in a sequence.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace lowrank {

// Counts by token, in ascending order of the tokens: what penalties are made of at every step.
class CountByToken {
 public:
  using Entry = std::pair<int32_t, int32_t>;  // token, count

  CountByToken() = default;
  CountByToken(std::initializer_list<Entry> counts) : entries_(counts) { std::sort(entries_.begin(), entries_.end()); }
  static CountByToken of(std::vector<int32_t> tokens) {
    std::sort(tokens.begin(), tokens.end());
    CountByToken counts;
    for (const int32_t token : tokens) {
      if (counts.entries_.empty() || counts.entries_.back().first != token) counts.entries_.emplace_back(token, 0);
      ++counts.entries_.back().second;
    }
    return counts;
  }

  int32_t& operator[](int32_t token) {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), Entry{token, 0},
                                     [](const Entry& a, const Entry& b) { return a.first < b.first; });
    if (at != entries_.end() && at->first == token) return at->second;
    return entries_.insert(at, {token, 0})->second;
  }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
};

struct TokenCounts {
  CountByToken generated;
  CountByToken seen;  // prompt and generated; kept where there is a repetition penalty

  void add(int32_t token) {
    ++generated[token];
    ++seen[token];
  }
};

}  // namespace lowrank
