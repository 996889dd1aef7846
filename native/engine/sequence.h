// A request in the engine's hands.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "engine/compositions.h"
#include "engine/request.h"
#include "kv_cache/kv_cache.h"
#include "kv_cache/prefix_cache.h"

namespace lowrank {

using Clock = std::chrono::steady_clock;

// What keys and values of a request depend on beside its tokens.
PrefixContext prefix_context(const Request& request);

struct Sequence {
  Sequence(Request submitted_request, uint64_t order_of_arrival, KvCache& cache)
      : request(std::move(submitted_request)), arrival(order_of_arrival), context(prefix_context(request)), blocks(cache),
        tokens(request.tokens) {
    if (request.timeout_ms > 0)
      deadline = submitted + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(request.timeout_ms));
  }

  Request request;
  uint64_t arrival;
  PrefixContext context;
  BlockTable blocks;
  PrefixCache::Cursor cursor;
  std::vector<int32_t> tokens;  // prompt and generated
  int32_t computed = 0;         // positions in the cache, drafted ones included
  int32_t reported = 0;         // evaluations: positions up to here have had their outputs
  std::shared_ptr<const ComposedSpans> composed;  // of the request's adapters, until it is first admitted
  std::vector<CompositionSpan> spans;             // from then on
  TokenCounts counts;
  std::vector<int32_t> draft;    // tokens that this step tries after the last one
  int32_t draft_limit = 3;       // of the next draft: grows while drafts are right
  int32_t drafted = 0;           // in all
  int32_t accepted = 0;
  int32_t cached = 0;            // tokens that the prefix cache had when it was first admitted
  int32_t preemptions = 0;
  bool active = false;           // admitted, and not preempted since
  bool planned = false;          // has rows in the step that is being planned
  bool done = false;
  Clock::time_point submitted = Clock::now();
  Clock::time_point deadline = Clock::time_point::max();
  Clock::time_point admitted{};  // for the first time
  Clock::time_point first_token{};

  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  int32_t pending() const { return length() - computed; }
  int32_t generated() const { return length() - static_cast<int32_t>(request.tokens.size()); }
  // Its next row draws a token and follows the one that was drawn last.
  bool decoding() const { return request.kind == Request::Kind::kGenerate && generated() > 0 && pending() == 1; }
  // May be admitted: its adapters are composed.
  bool ready() const { return composed == nullptr || composed->ready(); }
  bool was_admitted() const { return admitted != Clock::time_point{}; }
};

}  // namespace lowrank
