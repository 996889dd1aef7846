// How many prompt tokens a step may compute beside running answers, so that these keep their pace.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lowrank {

class StepBudget {
 public:
  // max_rows: of a step.
  explicit StepBudget(int32_t max_rows) : max_rows_(max_rows) {}

  // Rows of prompts for a step in which sequences are `decoding`.
  int32_t prompt_rows(bool decoding) const {
    if (!decoding) return max_rows_;
    if (decode_ms_ == 0 || row_ms_ == 0) return std::min(max_rows_, kFirstRows);
    const double rows = kStretch * decode_ms_ / row_ms_;
    return std::clamp(static_cast<int32_t>(std::min<double>(rows, max_rows_)), std::min(max_rows_, kMinRows), max_rows_);
  }

  // What a step took.
  void observe(int32_t decode_rows, int32_t prompt_rows, double milliseconds) {
    if (prompt_rows == 0) {
      blend(decode_ms_, milliseconds);
    } else if (decode_rows == 0) {
      if (prompt_rows >= kFirstRows) blend(row_ms_, milliseconds / prompt_rows);
    } else if (decode_ms_ != 0 && milliseconds > decode_ms_) {
      blend(row_ms_, (milliseconds - decode_ms_) / prompt_rows);
    }
  }

 private:
  // A step with prompts takes about 1 + kStretch times as long as one without, at most.
  static constexpr double kStretch = 1.25;
  // Fewer rows read the weights for hardly less than more.
  static constexpr int32_t kMinRows = 16;
  static constexpr int32_t kFirstRows = 32;

  static void blend(double& mean, double value) { mean = mean == 0 ? value : 0.8 * mean + 0.2 * value; }

  int32_t max_rows_;
  double decode_ms_ = 0;  // a step of answers alone
  double row_ms_ = 0;     // what a row of a prompt adds
};

}  // namespace lowrank
