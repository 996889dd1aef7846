#include "engine/readout.h"

#include <algorithm>

#include "engine/drafting.h"

namespace lowrank {
namespace {

// How often tokens will have occurred when the token after `position` is drawn.
TokenCounts counts_at(const Sequence& sequence, int32_t position) {
  TokenCounts counts = sequence.counts;
  for (const int32_t token : drafted_until(sequence, position)) counts.add(token);
  return counts;
}

std::vector<LogitAdjustment> adjustments_at(const Sequence& sequence, int32_t position) {
  const SamplingOptions& sampling = sequence.request.sampling;
  const bool drafted = position >= sequence.length();
  return logit_adjustments(sampling, drafted && sampling.counts_tokens() ? counts_at(sequence, position) : sequence.counts);
}

// What the token after `drafted` may be: `memory` [vocabulary] once it is filled in, or null where all may or where the drafted
// tokens cannot be drawn any more, so that the row is worthless.
const uint8_t* allowed_after(const std::vector<int32_t>& drafted, TokenConstraint& constraint, uint8_t* memory) {
  int32_t accepted = 0;
  for (const int32_t token : drafted) {
    if (!constraint.accept(token)) break;
    ++accepted;
  }
  const bool reachable = accepted == static_cast<int32_t>(drafted.size()) && !constraint.complete();
  const bool constrained = reachable && constraint.fill_allowed(memory);
  constraint.rollback(accepted);
  return constrained ? memory : nullptr;
}

}  // namespace

void Readouts::add(const Sequence& sequence, int32_t position, const float* logits, int32_t vocabulary) {
  const Request& request = sequence.request;
  Places places{logits};
  if (sequence.done) {
    places_.push_back(places);
    return;
  }
  if (request.kind == Request::Kind::kGenerate) {
    LogitsRow row = row_to_draw_from(request.sampling, vocabulary);
    row.logits = logits;
    const auto adjustments = adjustments_at(sequence, position);
    auto* kept = program_.allocate<LogitAdjustment>(adjustments.size());
    std::copy(adjustments.begin(), adjustments.end(), kept);
    row.adjustments = kept;
    row.adjustment_count = static_cast<int32_t>(adjustments.size());
    if (request.constraint != nullptr)
      row.allowed = allowed_after(drafted_until(sequence, position), *request.constraint,
                                  program_.allocate<uint8_t>(static_cast<size_t>(vocabulary)));
    places.to_draw = static_cast<int32_t>(rows_.size());
    rows_.push_back(row);
  }
  if (request.kind == Request::Kind::kScore || (request.kind == Request::Kind::kGenerate && request.top_logprobs >= 0)) {
    places.to_describe = static_cast<int32_t>(rows_.size());
    rows_.push_back(row_to_describe(logits, request.top_logprobs, vocabulary));
  }
  places_.push_back(places);
}

void Readouts::record(Graph& graph) {
  if (!rows_.empty()) recorded_ = graph.candidates(rows_);
}

Readout Readouts::operator[](size_t i) const {
  const Places& places = places_[i];
  return {places.logits, places.to_draw < 0 ? nullptr : recorded_ + places.to_draw,
          places.to_describe < 0 ? nullptr : recorded_ + places.to_describe};
}

}  // namespace lowrank
