#include "engine/scheduler.h"

#include <algorithm>

#include "engine/drafting.h"

namespace lowrank {
namespace {

// Seconds in which a waiting request gains one level of priority, so that it is served at last whatever else comes.
constexpr double kSecondsPerPriority = 5;
// Rows of a step that answers leave to prompts, at most; a quarter of the step where it is small, and one at least where it has two.
constexpr int32_t kRowsForPrompts = 16;

bool before(const Sequence& a, const Sequence& b) {
  return a.request.priority > b.request.priority || (a.request.priority == b.request.priority && a.arrival < b.arrival);
}

// Positions that may come from the prefix cache: all whose outputs nobody waits for.
int32_t cacheable(const Sequence& sequence) {
  if (!sequence.request.prefix_cache) return 0;
  if (sequence.request.kind == Request::Kind::kGenerate) return sequence.length() - 1;
  return std::max(sequence.request.from, sequence.reported);
}

std::list<Sequence>::iterator place_in(std::list<Sequence>& list, const Sequence& sequence) {
  return std::find_if(list.begin(), list.end(), [&](const Sequence& other) { return &other == &sequence; });
}

const Composition* composition_at(const Sequence& sequence, int32_t position) {
  const Composition* composition = nullptr;
  for (const CompositionSpan& span : sequence.spans)
    if (span.begin <= position) composition = span.composition.get();
  return composition;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, KvCache& pages)
    : options_(options), pages_(pages), prefix_(pages), budget_(options.max_rows) {}

bool Scheduler::idle() const {
  return active_.empty() && std::none_of(waiting_.begin(), waiting_.end(), [](const Sequence& sequence) { return sequence.ready(); });
}

Sequence& Scheduler::add(Request request) { return waiting_.emplace_back(std::move(request), arrivals_++, pages_); }

Sequence* Scheduler::find(uint64_t request) {
  for (auto* list : {&active_, &waiting_})
    for (Sequence& sequence : *list)
      if (sequence.request.id == request) return &sequence;
  return nullptr;
}

bool Scheduler::fits(const Sequence& sequence) const {
  const int32_t shared = prefix_.shared_blocks(sequence.tokens, cacheable(sequence), sequence.context);
  // Each running sequence will soon want a page more.
  const int32_t wanted = pages_for(sequence.length() + 1) - shared + static_cast<int32_t>(active_.size());
  return active_.empty() || wanted <= pages_.free_pages() + pages_.idle_pages();
}

Sequence* Scheduler::next_to_admit(Clock::time_point now) {
  const auto urgency = [&](const Sequence& sequence) {
    const double waited = std::chrono::duration<double>(now - sequence.submitted).count();
    return sequence.request.priority + waited / kSecondsPerPriority;
  };
  auto next = waiting_.end();
  for (auto at = waiting_.begin(); at != waiting_.end(); ++at)
    if (at->ready() && (next == waiting_.end() || urgency(*next) < urgency(*at))) next = at;
  if (next == waiting_.end()) return nullptr;
  while (static_cast<int32_t>(active_.size()) >= options_.max_sequences || !fits(*next)) {
    if (active_.empty() || active_.back().request.priority >= next->request.priority) return nullptr;
    preempt(std::prev(active_.end()));
  }
  return &*next;
}

void Scheduler::admit(Sequence& sequence) {
  const auto at = place_in(waiting_, sequence);
  const auto place = std::find_if(active_.begin(), active_.end(), [&](const Sequence& other) { return before(sequence, other); });
  active_.splice(place, waiting_, at);
  sequence.active = true;
  const int32_t limit = cacheable(sequence);
  if (limit > 0) sequence.computed = prefix_.match(sequence.tokens, limit, sequence.context, sequence.blocks, sequence.cursor);
  if (sequence.was_admitted()) return;
  sequence.admitted = Clock::now();
  sequence.cached = sequence.computed;
  counts_.prompt_tokens += sequence.length();
  counts_.cached_tokens += sequence.cached;
}

void Scheduler::release(Sequence& sequence, bool keep) {
  if (keep && sequence.request.prefix_cache)
    prefix_.publish_all(sequence.tokens, sequence.computed, sequence.context, sequence.blocks, sequence.cursor);
  sequence.blocks.clear();
  sequence.cursor = {};
  sequence.computed = 0;
}

void Scheduler::sweep() {
  const auto done = [](const Sequence& sequence) { return sequence.done; };
  std::erase_if(waiting_, done);
  std::erase_if(active_, done);
}

void Scheduler::preempt(std::list<Sequence>::iterator victim) {
  release(*victim, true);
  victim->active = false;
  victim->planned = false;
  ++victim->preemptions;
  ++counts_.preemptions;
  const auto place =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const Sequence& other) { return victim->arrival < other.arrival; });
  waiting_.splice(place, active_, victim);
}

bool Scheduler::make_room(Sequence& sequence, int32_t end) {
  while (!sequence.blocks.reserve(end)) {
    auto victim = active_.end();
    for (auto at = active_.begin(); at != active_.end(); ++at)
      if (!at->done && !at->planned && before(sequence, *at)) victim = at;
    if (victim == active_.end()) return false;
    preempt(victim);
  }
  return true;
}

void Scheduler::add_rows(Sequence& sequence, int32_t count) {
  plan_.push_back({&sequence, sequence.computed, count});
  sequence.planned = true;
  sequence.computed += count;
  rows_ += count;
}

const std::vector<PlannedRows>& Scheduler::plan() {
  plan_.clear();
  rows_ = 0;
  for (Sequence& sequence : active_) sequence.planned = false;
  plan_answers();
  answer_rows_ = rows_;
  plan_prompts();
  std::stable_sort(plan_.begin(), plan_.end(), [](const PlannedRows& a, const PlannedRows& b) {
    return std::less<>()(composition_at(*a.sequence, a.begin), composition_at(*b.sequence, b.begin));
  });
  return plan_;
}

void Scheduler::plan_answers() {
  std::vector<Sequence*> answers;
  bool prompts = false;
  for (Sequence& sequence : active_) {
    if (sequence.done) continue;
    if (sequence.decoding())
      answers.push_back(&sequence);
    else
      prompts = true;
  }
  const int32_t max_rows = options_.max_rows - (prompts ? std::clamp(options_.max_rows / 4, std::min(1, options_.max_rows - 1), kRowsForPrompts) : 0);
  // Where not all fit into a step, the next one begins with those that were left out.
  const auto first = std::find_if(answers.begin(), answers.end(), [&](const Sequence* s) { return s->arrival == first_answer_; });
  if (first != answers.end()) std::rotate(answers.begin(), first, answers.end());
  for (Sequence* sequence : answers) {
    if (rows_ >= max_rows) {
      first_answer_ = sequence->arrival;
      return;
    }
    if (!sequence->active) continue;  // it gave way to one before it
    sequence->draft = draft_of(*sequence, max_rows - rows_ - 1);
    if (!make_room(*sequence, sequence->length() + static_cast<int32_t>(sequence->draft.size()))) {
      sequence->draft.clear();
      if (!make_room(*sequence, sequence->length())) {
        preempt(place_in(active_, *sequence));
        continue;
      }
    }
    add_rows(*sequence, 1 + static_cast<int32_t>(sequence->draft.size()));
  }
}

void Scheduler::plan_prompts() {
  std::vector<Sequence*> prompts;
  for (Sequence& sequence : active_)
    // An answer that this step has no row for is first in the next: it takes none of the prompts'.
    if (!sequence.done && !sequence.planned && !sequence.decoding() && sequence.pending() > 0) prompts.push_back(&sequence);
  if (prompts.empty()) return;
  int32_t left = std::min(budget_.prompt_rows(answer_rows_ > 0), options_.max_rows - rows_);
  int32_t others = 0;
  for (size_t i = 1; i < prompts.size() && others < left; ++i) others += prompts[i]->pending();
  const int32_t for_oldest = std::max((left + 1) / 2, left - others);
  std::stable_sort(prompts.begin() + 1, prompts.end(), [](const Sequence* a, const Sequence* b) { return a->pending() < b->pending(); });
  for (Sequence* sequence : prompts) {
    if (left == 0) return;
    if (!sequence->active) continue;
    const int32_t count = std::min({sequence->pending(), left, sequence == prompts.front() ? for_oldest : left});
    if (!make_room(*sequence, sequence->computed + count)) continue;
    add_rows(*sequence, count);
    left -= count;
  }
}

void Scheduler::computed(double milliseconds) {
  int32_t prompt_rows = -answer_rows_;
  for (const PlannedRows& rows : plan_) {
    prompt_rows += rows.count;
    Sequence& sequence = *rows.sequence;
    if (!sequence.done && sequence.request.prefix_cache)
      prefix_.publish(sequence.tokens, sequence.computed, sequence.context, sequence.blocks, sequence.cursor);
  }
  budget_.observe(answer_rows_, prompt_rows, milliseconds);
}

}  // namespace lowrank
