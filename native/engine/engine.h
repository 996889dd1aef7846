// One model, one thread that drives it, and the sequences that it serves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/program.h"
#include "engine/earlier_answers.h"
#include "engine/request.h"
#include "engine/sequence.h"
#include "kv_cache/kv_cache.h"
#include "model/graph.h"
#include "model/model.h"

namespace lowrank {

struct EngineOptions {
  int threads = 1;
  int32_t context_length = 0;  // tokens of one sequence
  int32_t max_sequences = 1;   // that are served at once; more wait
  bool int8_kv = false;        // keys and values in int8 in place of the model's own format; not for the reference modes
};

struct EngineMemory {
  size_t weight_bytes;
  size_t kv_cache_bytes;
  size_t scratch_bytes;
};

class Engine {
 public:
  // Called on the engine's thread after each step with what it did. Must not block and must not throw.
  using Sink = std::function<void(std::vector<Event>&&)>;

  Engine(std::unique_ptr<Model> model, const EngineOptions& options, Sink sink);
  ~Engine() { shut_down(); }

  // Ends every request with kAborted, then stops the thread. Safe to call again.
  void shut_down();

  // Any thread. The request's events follow through the sink; its errors, too.
  void submit(Request request);
  void cancel(uint64_t id);

  const Model& model() const { return *model_; }
  const EngineOptions& options() const { return options_; }
  EngineMemory memory() const;
  size_t kv_bytes_per_token() const { return kv_bytes_per_token_; }
  KvFormat kv_format() const { return cache_.spec().format; }

 private:
  void run();
  void take_inbox(bool wait);
  void admit();
  // Fills batch_ and outputs_ with this step's rows; false where there is nothing to do.
  bool plan();
  void add_rows(Sequence& sequence, int32_t count);
  // Chooses what a decoding sequence tries in this step, at most `most` tokens.
  void draft(Sequence& sequence, int32_t most);
  // Whether the row at `position` was computed from the tokens that the sequence has now.
  static bool follows(const Sequence& sequence, int32_t position);
  // Forgets the positions of drafted tokens that were not drawn.
  static void settle_draft(Sequence& sequence);
  void step();
  void accept_logits(Sequence& sequence, int32_t position, const float* logits);
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
  const BaseModel base_;
  Sink sink_;
  KvCache cache_;
  Scratch scratch_;
  Program program_;
  Batch batch_;
  Sampler sampler_;
  CompositionCache compositions_;
  EarlierAnswers earlier_answers_;
  std::list<Sequence> waiting_;
  std::list<Sequence> active_;
  std::vector<Output> outputs_;
  std::vector<Event> events_;
  size_t kv_bytes_per_token_;
  std::atomic<size_t> kv_bytes_{0};
  std::atomic<size_t> scratch_bytes_{0};

  std::mutex mutex_;  // guards the inbox
  std::condition_variable wake_;
  std::vector<Request> submitted_;
  std::vector<uint64_t> cancelled_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lowrank
