// One model, one thread that drives it, and the sequences that it serves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/host_view.h"
#include "backend/program.h"
#include "engine/compositions.h"
#include "engine/engine_options.h"
#include "engine/readout.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "kv_cache/kv_cache.h"
#include "model/graph.h"
#include "model/model.h"

namespace lowrank {

struct EngineMemory {
  size_t weight_bytes;
  size_t kv_cache_bytes;  // taken so far
  size_t scratch_bytes;
};

// Of the engine's whole life, or as after the last step.
struct EngineStatistics {
  int64_t steps = 0;
  int64_t rows = 0;             // tokens computed
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0;    // of admitted requests
  int64_t cached_tokens = 0;    // of those the prefix cache had
  int64_t waiting = 0;
  int64_t active = 0;
  size_t kv_budget_bytes = 0;
  size_t kv_used_bytes = 0;     // by sequences
  size_t kv_idle_bytes = 0;     // kept by the prefix cache alone, free when wanted
};

class Engine {
 public:
  // Called on the engine's thread after each step with what it did. Must not block and must not throw.
  using Sink = std::function<void(std::vector<Event>&&)>;

  // Throws as kv_cache_spec does, and Error(kOutOfMemory).
  Engine(std::unique_ptr<Model> model, const EngineOptions& options, Sink sink);
  ~Engine() { shut_down(); }

  // Ends every request with kAborted, then stops the thread. Safe to call again.
  void shut_down();

  // Any thread. The request's events follow through the sink; its errors, too. Its adapters are composed on a thread apart: until
  // then it waits, and others run. Throws Error(kQueueFull).
  void submit(Request request);
  void cancel(uint64_t id);

  const Model& model() const { return *model_; }
  const EngineOptions& options() const { return options_; }  // complete
  EngineMemory memory() const;
  EngineStatistics statistics() const;
  size_t kv_bytes_per_token() const { return kv_bytes_per_token_; }
  KvFormat kv_format() const { return cache_.spec().format; }

 private:
  void run();
  void take_inbox(bool wait);
  void expire();
  void admit();
  // Fills batch_ and outputs_ with this step's rows; false where there is nothing to do.
  bool plan();
  void add_rows(const PlannedRows& planned);
  void step();
  void keep_statistics();
  void accept_logits(Sequence& sequence, int32_t position, const Readout& readout);
  void accept_token(Sequence& sequence, int32_t token);
  void finish(Sequence& sequence, Finish reason);
  void fail(Sequence& sequence, ErrorCode code, const std::string& message);
  void fail_not_finite(Sequence& sequence);
  void flush();
  Event& event_of(Sequence& sequence);

  // A row of the step whose logits are wanted.
  struct Output {
    int32_t row;
    Sequence* sequence;
    int32_t position;
  };

  std::unique_ptr<Model> model_;
  const EngineOptions options_;
  Sink sink_;
  KvCache cache_;
  Scheduler scheduler_;
  Scratch scratch_;
  Program program_;
  Batch batch_;
  Sampler sampler_;
  HostView view_;
  std::vector<Output> outputs_;
  std::vector<Event> events_;
  size_t kv_bytes_per_token_;
  std::atomic<size_t> kv_bytes_{0};
  std::atomic<size_t> scratch_bytes_{0};

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  struct Submission {
    Request request;
    std::shared_ptr<const ComposedSpans> composed;
  };
  std::vector<Submission> submitted_;
  std::vector<uint64_t> cancelled_;
  int64_t unfinished_ = 0;  // requests
  EngineStatistics statistics_;
  bool composed_ = false;  // the adapters of some request, since the inbox was looked at
  bool stopping_ = false;
  Compositions compositions_;
  std::thread thread_;
};

}  // namespace lowrank
