#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "engine/drafting.h"

namespace lowrank {
namespace {

constexpr int32_t kMaxLogitRows = 16;

double milliseconds(Clock::duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

}  // namespace

Engine::Engine(std::unique_ptr<Model> model, const EngineOptions& options, Sink sink)
    : model_(std::move(model)),
      options_(complete(options, *model_)),
      sink_(std::move(sink)),
      cache_(model_->backend(), kv_cache_spec(*model_, options_)),
      scheduler_({options_.max_sequences, options_.max_rows}, cache_),
      scratch_(model_->backend(), model_->config(), options_.max_rows, kMaxLogitRows, options_.context_length),
      sampler_(model_->backend()),
      kv_bytes_per_token_(cache_.bytes_per_token()),
      compositions_(model_->base(options_.threads), [this] {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          composed_ = true;
        }
        wake_.notify_one();
      }) {
  scratch_bytes_ = scratch_.bytes();
  keep_statistics();
  thread_ = std::thread([this] { run(); });
}

void Engine::shut_down() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  compositions_.shut_down();
}

void Engine::submit(Request request) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const int64_t max_unfinished = int64_t{options_.max_sequences} + options_.max_waiting;
    if (unfinished_ >= max_unfinished)
      throw Error(ErrorCode::kQueueFull, "Expected at most " + std::to_string(max_unfinished) +
                                             " unfinished requests, there are as many. Try again later, or load the model with a larger maxQueue.");
    ++unfinished_;
  }
  // An answer ends where the context is full.
  request.max_tokens = std::min(request.max_tokens, options_.context_length - static_cast<int32_t>(request.tokens.size()));
  std::shared_ptr<const ComposedSpans> composed;
  try {
    composed = compositions_.compose(request.adapters);
  } catch (...) {
    std::lock_guard<std::mutex> lock(mutex_);
    --unfinished_;
    throw;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    submitted_.push_back({std::move(request), std::move(composed)});
  }
  wake_.notify_one();
}

void Engine::cancel(uint64_t id) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_.push_back(id);
  }
  wake_.notify_one();
}

EngineMemory Engine::memory() const { return {model_->weights().bytes, kv_bytes_, scratch_bytes_}; }

EngineStatistics Engine::statistics() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return statistics_;
}

void Engine::keep_statistics() {
  const SchedulerCounts& counts = scheduler_.counts();
  std::lock_guard<std::mutex> lock(mutex_);
  statistics_.preemptions = counts.preemptions;
  statistics_.prompt_tokens = counts.prompt_tokens;
  statistics_.cached_tokens = counts.cached_tokens;
  statistics_.waiting = static_cast<int64_t>(scheduler_.waiting());
  statistics_.active = static_cast<int64_t>(scheduler_.active());
  statistics_.kv_budget_bytes = cache_.page_bytes() * static_cast<size_t>(cache_.max_pages());
  statistics_.kv_used_bytes = cache_.page_bytes() * static_cast<size_t>(cache_.used_pages() - cache_.idle_pages());
  statistics_.kv_idle_bytes = cache_.page_bytes() * static_cast<size_t>(cache_.idle_pages());
}

void Engine::run() {
  for (;;) {
    take_inbox(scheduler_.idle());
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) break;
    }
    expire();
    admit();
    if (plan()) step();
    scheduler_.sweep();
    kv_bytes_ = cache_.bytes();
    keep_statistics();
    flush();
  }
  take_inbox(false);
  scheduler_.for_each([this](Sequence& sequence) {
    if (!sequence.done) finish(sequence, Finish::kAborted);
  });
  scheduler_.sweep();
  flush();
}

void Engine::take_inbox(bool wait) {
  std::vector<Submission> submitted;
  std::vector<uint64_t> cancelled;
  const auto called = [this] { return stopping_ || composed_ || !submitted_.empty() || !cancelled_.empty(); };
  {
    std::unique_lock<std::mutex> lock(mutex_);
    for (bool more = wait; more && !called();) {
      lock.unlock();
      more = cache_.prefault_next_pages();
      lock.lock();
    }
    if (wait) wake_.wait(lock, called);
    composed_ = false;
    submitted.swap(submitted_);
    cancelled.swap(cancelled_);
  }
  for (Submission& one : submitted) scheduler_.add(std::move(one.request)).composed = std::move(one.composed);
  for (const uint64_t id : cancelled) {
    Sequence* sequence = scheduler_.find(id);
    if (sequence != nullptr && !sequence->done) finish(*sequence, Finish::kAborted);
  }
  scheduler_.sweep();
}

void Engine::expire() {
  const auto now = Clock::now();
  scheduler_.for_each([&](Sequence& sequence) {
    if (!sequence.done && now >= sequence.deadline)
      fail(sequence, ErrorCode::kTimeout,
           "Expected the request to end within " + std::to_string(static_cast<int64_t>(sequence.request.timeout_ms)) +
               " ms, it had generated " + std::to_string(sequence.generated()) + " tokens by then.");
  });
  scheduler_.sweep();
}

void Engine::admit() {
  while (Sequence* sequence = scheduler_.next_to_admit(Clock::now())) {
    try {
      if (sequence->composed != nullptr) {
        sequence->spans = sequence->composed->spans();
        sequence->composed.reset();
        if (sequence->request.sampling.repetition_penalty != 1)
          sequence->counts.seen = CountByToken::of(sequence->tokens);
      }
      scheduler_.admit(*sequence);
    } catch (const Error& error) {
      fail(*sequence, error.code(), error.what());
    } catch (const std::exception& error) {
      fail(*sequence, ErrorCode::kOutOfMemory, error.what());
    }
    scheduler_.sweep();
  }
}

bool Engine::plan() {
  batch_.clear();
  outputs_.clear();
  for (const PlannedRows& planned : scheduler_.plan()) add_rows(planned);
  return batch_.rows() > 0;
}

void Engine::add_rows(const PlannedRows& planned) {
  Sequence& sequence = *planned.sequence;
  const int32_t begin = planned.begin;
  const int32_t end = begin + planned.count;
  const int32_t first_row = batch_.rows();
  for (int32_t position = begin; position < end; ++position) {
    const int32_t drafted = position - sequence.length();
    batch_.tokens.push_back(drafted < 0 ? sequence.tokens[static_cast<size_t>(position)]
                                        : sequence.draft[static_cast<size_t>(drafted)]);
    batch_.positions.push_back(position);
    batch_.block_tables.push_back(sequence.blocks.pages());
  }
  for (size_t i = 0; i < sequence.spans.size(); ++i) {
    const Composition* composition = sequence.spans[i].composition.get();
    if (composition == nullptr) continue;
    const int32_t span_end =
        i + 1 < sequence.spans.size() ? sequence.spans[i + 1].begin : std::numeric_limits<int32_t>::max();
    const int32_t from = std::max(begin, sequence.spans[i].begin);
    const int32_t to = std::min(end, span_end);
    if (from >= to) continue;
    const int32_t row = first_row + from - begin;
    if (!batch_.segments.empty() && batch_.segments.back().end == row && batch_.segments.back().composition == composition)
      batch_.segments.back().end = row + to - from;
    else
      batch_.segments.push_back({row, row + to - from, composition});
  }
  const Request& request = sequence.request;
  if (request.kind == Request::Kind::kGenerate) {
    for (int32_t position = std::max(begin, sequence.length() - 1); position < end; ++position)
      outputs_.push_back({first_row + position - begin, &sequence, position});
  } else {
    for (int32_t position = std::max({begin, request.from, sequence.reported}); position < std::min(end, request.to); ++position)
      outputs_.push_back({first_row + position - begin, &sequence, position});
  }
}

void Engine::step() {
  const auto fail_all = [this](ErrorCode code, const char* message) {
    scheduler_.for_each([&](Sequence& sequence) {
      if (sequence.planned && !sequence.done) fail(sequence, code, message);
    });
  };
  try {
    const auto started = Clock::now();
    const int32_t vocabulary = model_->config().vocabulary_size;
    program_.clear();
    const Backend& backend = model_->backend();
    DecoderGraph graph(program_, backend.ops(), model_->config(), model_->weights(), cache_, scratch_, batch_);
    graph.embed();
    graph.layers(row_blocks(backend, model_->config(), batch_.rows(), options_.threads));
    size_t done = 0;
    do {
      const size_t count = std::min<size_t>(outputs_.size() - done, static_cast<size_t>(scratch_.max_logit_rows));
      std::vector<int32_t> rows;
      Readouts readouts(program_);
      for (size_t i = 0; i < count; ++i) {
        const Output& output = outputs_[done + i];
        rows.push_back(output.row);
        const float* logits = scratch_.logits.as<float>() + static_cast<int64_t>(i) * vocabulary;
        readouts.add(*output.sequence, output.position, logits, vocabulary);
      }
      if (count != 0) graph.logits(rows);
      readouts.record(graph);
      backend.run(program_, options_.threads);
      for (size_t i = 0; i < count; ++i) {
        const Output& output = outputs_[done + i];
        const bool generates = output.sequence->request.kind == Request::Kind::kGenerate;
        if (!output.sequence->done && (!generates || follows(*output.sequence, output.position)))
          accept_logits(*output.sequence, output.position, readouts[i]);
      }
      done += count;
      // The hidden states stay in scratch: what follows are further rows of logits alone.
      program_.clear();
    } while (done < outputs_.size());
    scratch_bytes_ = scratch_.bytes();
    scheduler_.for_each([](Sequence& sequence) {
      if (sequence.planned && !sequence.done) settle_draft(sequence);
    });
    scheduler_.computed(milliseconds(Clock::now() - started));
    std::lock_guard<std::mutex> lock(mutex_);
    ++statistics_.steps;
    statistics_.rows += batch_.rows();
  } catch (const Error& error) {
    fail_all(error.code(), error.what());
  } catch (const std::exception& error) {
    fail_all(ErrorCode::kOutOfMemory, error.what());
  }
  // Evaluations end when their last position is computed, whether or not it had an output.
  scheduler_.for_each([this](Sequence& sequence) {
    if (!sequence.done && sequence.request.kind != Request::Kind::kGenerate && sequence.computed >= sequence.request.to)
      finish(sequence, Finish::kComplete);
  });
}

void Engine::accept_logits(Sequence& sequence, int32_t position, const Readout& readout) {
  const Request& request = sequence.request;
  const int32_t vocabulary = model_->config().vocabulary_size;
  sequence.reported = position + 1;
  if (request.kind == Request::Kind::kLogits) {
    const float* row = view_.of(model_->backend(), readout.logits, static_cast<size_t>(vocabulary));
    if (request.comparison != nullptr) {
      request.comparison->add(request.variant, row);
    } else if (!std::all_of(row, row + vocabulary, [](float logit) { return std::isfinite(logit); })) {
      fail_not_finite(sequence);
    } else {
      Event& event = event_of(sequence);
      event.logits.insert(event.logits.end(), row, row + vocabulary);
    }
    return;
  }
  Event& event = event_of(sequence);
  int32_t token = -1;
  if (request.kind == Request::Kind::kGenerate) {
    token = sampler_.draw(*readout.to_draw, vocabulary, request.sampling, static_cast<uint64_t>(position) + 1);
    if (token < 0) {
      fail_not_finite(sequence);
      return;
    }
  } else if (position + 1 < sequence.length()) {
    token = sequence.tokens[static_cast<size_t>(position) + 1];
  }
  event.tokens.push_back(token);
  if (readout.to_describe != nullptr) {
    const Distribution distribution = describe(*readout.to_describe);
    if (!std::isfinite(distribution.logsumexp)) {
      fail_not_finite(sequence);
      return;
    }
    event.logprobs.push_back(token < 0 ? std::numeric_limits<float>::quiet_NaN()
                                       : distribution.logprob(*view_.of(model_->backend(), readout.logits + token, 1)));
    event.entropies.push_back(distribution.entropy);
    event.logsumexps.push_back(static_cast<float>(distribution.logsumexp));
    for (const auto& [id, logprob] : distribution.top) {
      event.top_ids.push_back(id);
      event.top_logprobs.push_back(logprob);
    }
  }
  if (request.kind == Request::Kind::kGenerate) accept_token(sequence, token);
}

void Engine::accept_token(Sequence& sequence, int32_t token) {
  const Request& request = sequence.request;
  if (sequence.generated() == 0) sequence.first_token = Clock::now();
  sequence.tokens.push_back(token);
  sequence.counts.add(token);
  TokenConstraint* const constraint = request.constraint.get();
  if (std::find(request.stop_tokens.begin(), request.stop_tokens.end(), token) != request.stop_tokens.end())
    finish(sequence, Finish::kStop);
  else if (constraint != nullptr && !constraint->accept(token))
    fail(sequence, ErrorCode::kInternal, "Expected an answer within its constraint, the token " + std::to_string(token) + " is outside of it.");
  else if (constraint != nullptr && constraint->complete())
    finish(sequence, Finish::kStop);
  else if (sequence.generated() >= request.max_tokens)
    finish(sequence, Finish::kLength);
}

Event& Engine::event_of(Sequence& sequence) {
  for (Event& event : events_)
    if (event.request == sequence.request.id) return event;
  events_.emplace_back();
  events_.back().request = sequence.request.id;
  return events_.back();
}

void Engine::finish(Sequence& sequence, Finish reason) {
  const auto now = Clock::now();
  Event& event = event_of(sequence);
  event.finish = reason;
  Timings& timings = event.timings;
  const bool admitted = sequence.was_admitted();
  const bool started = sequence.first_token != Clock::time_point{};
  timings.queued_ms = milliseconds((admitted ? sequence.admitted : now) - sequence.submitted);
  if (admitted) timings.prefill_ms = milliseconds((started ? sequence.first_token : now) - sequence.admitted);
  if (started) timings.decode_ms = milliseconds(now - sequence.first_token);
  timings.prompt_tokens = static_cast<int32_t>(sequence.request.tokens.size());
  timings.generated_tokens = sequence.generated();
  settle_draft(sequence);
  timings.drafted_tokens = sequence.drafted;
  timings.accepted_tokens = sequence.accepted;
  timings.cached_tokens = sequence.cached;
  timings.preemptions = sequence.preemptions;
  const Request& request = sequence.request;
  if (request.drafter != nullptr && (reason == Finish::kStop || reason == Finish::kLength))
    request.drafter->finished(sequence.tokens.data() + request.tokens.size(), sequence.generated());
  scheduler_.release(sequence, reason != Finish::kError);
  sequence.done = true;
  std::lock_guard<std::mutex> lock(mutex_);
  --unfinished_;
}

void Engine::fail(Sequence& sequence, ErrorCode code, const std::string& message) {
  finish(sequence, Finish::kError);
  Event& event = event_of(sequence);
  event.error_code = code;
  event.error_message = message;
}

void Engine::fail_not_finite(Sequence& sequence) {
  fail(sequence, ErrorCode::kInternal,
       "Expected finite logits, the model produced others. The weights or an adapter of this request overflow.");
}

void Engine::flush() {
  if (events_.empty()) return;
  sink_(std::move(events_));
  events_.clear();
}

}  // namespace lowrank
