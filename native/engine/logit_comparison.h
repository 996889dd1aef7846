// The logits of several variants of a model over the same positions of a text, and what the variants' distributions differ by.
//
// With a and b the rows of two variants at one position, p = softmax(a), q = softmax(b), A = max a, S = sum e^(a[i] - A) and
// L(a) = ln sum e^a[i] = A + ln S:
//   KL(p || q) = sum p[i] (ln p[i] - ln q[i]) = sum e^(a[i] - A) (a[i] - b[i]) / S - L(a) + L(b)   in nats
// All of it in float64, in one order: equal rows give exactly 0, and what rounding leaves below 0 (about -1e-15) is 0.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/buffer.h"

namespace lowrank {

// What the rows of all variants hold, by variant and row.
struct LogitDifferences {
  std::vector<double> divergences;    // [variants, rows] KL(reference || variant), nats, 0 or above
  std::vector<double> logprobs;       // [variants, rows] of the given tokens, natural logarithms
  std::vector<int32_t> most_likely;   // [variants, rows] token ids, of equals the lowest
};

// Filled by the engine's thread, compared by another one.
class LogitComparison {
 public:
  // Takes 4 * variants * rows * vocabulary bytes, backed by the system as they are filled. Throws Error(kOutOfMemory).
  LogitComparison(int32_t variants, int32_t rows, int32_t vocabulary);

  int32_t variants() const { return variants_; }
  int32_t rows() const { return rows_; }
  size_t bytes() const { return logits_.bytes(); }

  // Forgets the rows of a variant.
  void restart(int32_t variant);
  // Its next row, [vocabulary]; those beyond `rows` are dropped.
  void add(int32_t variant, const float* logits);

  // Over as many rows as there are tokens: tokens[i] is the one whose log-probability in row i is wanted. Throws
  // Error(kInvalidArgument) where a variant does not have as many rows, Error(kInternal) where logits are not finite.
  LogitDifferences compare(int32_t reference, const std::vector<int32_t>& tokens) const;

 private:
  const float* row(int32_t variant, int32_t row) const;

  const int32_t variants_;
  const int32_t rows_;
  const int32_t vocabulary_;
  mutable std::mutex mutex_;     // guards what follows
  Buffer logits_;                // float32 [variants, rows, vocabulary]
  std::vector<int32_t> filled_;  // [variants] rows
};

}  // namespace lowrank
