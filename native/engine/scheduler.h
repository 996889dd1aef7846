// Which sequences the next step serves: admission by what fits into the cache, the sharing of a step between running answers
// and prompts, preemption where the cache is full. What is scheduled when never changes what a request gets, only when.
#pragma once

#include <list>
#include <vector>

#include "engine/sequence.h"
#include "engine/step_budget.h"
#include "kv_cache/kv_cache.h"
#include "kv_cache/prefix_cache.h"

namespace lowrank {

struct SchedulerOptions {
  int32_t max_sequences;  // that are computed at once
  int32_t max_rows;       // of a step
};

// Positions [begin, begin + count) of a sequence, for the next step. Those after its tokens are its draft.
struct PlannedRows {
  Sequence* sequence;
  int32_t begin;
  int32_t count;
};

struct SchedulerCounts {
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0;  // of admitted requests
  int64_t cached_tokens = 0;  // of those the prefix cache had
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, KvCache& pages);

  Sequence& add(Request request);
  Sequence* find(uint64_t request);
  // Nothing can be computed: there is no sequence, or none whose adapters are composed.
  bool idle() const;
  size_t waiting() const { return waiting_.size(); }
  size_t active() const { return active_.size(); }

  // The waiting sequence that is ready, next and fits, or null. Where all places are taken by others of less priority, the last of
  // those gives way.
  Sequence* next_to_admit(Clock::time_point now);
  // Its tokens are looked up in the prefix cache.
  void admit(Sequence& sequence);

  // Rows of the next step, those with the same adapters side by side. Answers come first, one row each and its draft; then
  // prompts: the oldest has half of what is left at least, the shortest the rest.
  const std::vector<PlannedRows>& plan();
  // The step's rows are in the cache. Whole blocks of them become known to the prefix cache.
  void computed(double milliseconds);

  // Frees what a sequence holds. `keep`: the prefix cache may have it.
  void release(Sequence& sequence, bool keep);
  // Forgets sequences that are done.
  void sweep();

  template <class Visit>
  void for_each(Visit visit) {
    for (auto* list : {&active_, &waiting_})
      for (Sequence& sequence : *list) visit(sequence);
  }

  const SchedulerCounts& counts() const { return counts_; }

 private:
  bool fits(const Sequence& sequence) const;
  void preempt(std::list<Sequence>::iterator victim);
  // Makes room for positions below `end`, at the cost of sequences after this one that have no rows in this step yet.
  bool make_room(Sequence& sequence, int32_t end);
  void add_rows(Sequence& sequence, int32_t count);
  void plan_answers();
  void plan_prompts();

  const SchedulerOptions options_;
  KvCache& pages_;
  PrefixCache prefix_;
  StepBudget budget_;
  SchedulerCounts counts_;
  uint64_t arrivals_ = 0;
  std::list<Sequence> waiting_;  // by arrival
  std::list<Sequence> active_;   // by priority, then arrival
  std::vector<PlannedRows> plan_;
  int32_t rows_ = 0;
  int32_t answer_rows_ = 0;
  uint64_t first_answer_ = 0;  // arrival of the answer that the next step serves first, where not all fit into one
};

}  // namespace lowrank
