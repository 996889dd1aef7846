// What the engine is asked for, and what it reports.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "engine/drafter.h"
#include "engine/logit_comparison.h"
#include "engine/sampler.h"
#include "engine/token_constraint.h"
#include "lora/adapter.h"

namespace lowrank {

struct RequestAdapter {
  std::shared_ptr<const Adapter> adapter;
  float scale = 1;
  // Rows outside [from_position, to_position) run without this adapter: activated LoRA, scales that change on the way.
  int32_t from_position = 0;
  int32_t to_position = std::numeric_limits<int32_t>::max();
};

struct Request {
  enum class Kind : uint8_t { kGenerate, kScore, kLogits };
  uint64_t id = 0;
  Kind kind = Kind::kGenerate;
  std::vector<int32_t> tokens;  // the prompt, or what is evaluated
  std::vector<RequestAdapter> adapters;
  int32_t top_logprobs = -1;  // at most kMaxLogitCandidates; -1: no log-probabilities
  int32_t priority = 0;       // higher ones are served first
  double timeout_ms = 0;      // from submission; 0: none
  bool prefix_cache = true;   // use what is known of its first tokens, and keep what is computed
  std::string cache_salt;     // requests with different salts share nothing of the prefix cache
  // kGenerate
  int32_t max_tokens = 0;
  std::vector<int32_t> stop_tokens;
  SamplingOptions sampling;
  std::unique_ptr<TokenConstraint> constraint;  // what the answer may consist of; null: any tokens
  std::unique_ptr<Drafter> drafter;             // null: no drafts
  int32_t max_draft_tokens = 0;                 // of a step, at most kMaxDraftTokens
  // kScore, kLogits: positions [from, to) whose next-token distribution is wanted
  int32_t from = 0;
  int32_t to = 0;
  // kLogits: the rows go here, as those of this variant, and not into events.
  std::shared_ptr<LogitComparison> comparison;
  int32_t variant = 0;
};

enum class Finish : uint8_t { kNone, kStop, kLength, kAborted, kComplete, kError };

struct Timings {
  double queued_ms = 0;
  double prefill_ms = 0;
  double decode_ms = 0;
  int32_t prompt_tokens = 0;
  int32_t generated_tokens = 0;
  int32_t drafted_tokens = 0;   // that the drafter guessed
  int32_t accepted_tokens = 0;  // drafted ones that were drawn
  int32_t cached_tokens = 0;    // of the prompt that the prefix cache had
  int32_t preemptions = 0;      // times that it gave way to others and was computed again
};

// What one step did for one request.
struct Event {
  uint64_t request = 0;
  std::vector<int32_t> tokens;  // drawn (a stop token is the last), or the actual next tokens (kScore; -1 at the end)
  std::vector<float> logprobs;  // of `tokens`; NaN where the token is -1
  std::vector<float> entropies;   // nats, of each position's distribution; like what follows where top_logprobs >= 0 or kScore
  std::vector<float> logsumexps;  // log(sum(exp(logits)))
  std::vector<int32_t> top_ids;      // [tokens, top_logprobs]
  std::vector<float> top_logprobs;
  std::vector<float> logits;         // kLogits: [positions, vocabulary]
  Finish finish = Finish::kNone;
  ErrorCode error_code = ErrorCode::kInternal;  // kError
  std::string error_message;
  Timings timings;  // where finish is not kNone
};

}  // namespace lowrank
