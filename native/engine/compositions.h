// What requests run with, built on a thread of its own: all layers, DoRA gains and uploads of a new mix of adapters must hold up
// neither the steps of other requests nor whoever submits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/request.h"
#include "lora/composition.h"

namespace lowrank {

// From `begin` on, rows run with `composition` (null: the base alone).
struct CompositionSpan {
  int32_t begin;
  std::shared_ptr<const Composition> composition;
};

// Where the adapters of a request change: ascending positions, the first 0.
std::vector<int32_t> span_begins(const std::vector<RequestAdapter>& adapters);
bool active_at(const RequestAdapter& adapter, int32_t position);

// The spans of one request, which may still be being built.
class ComposedSpans {
 public:
  // Built, or failed. Any thread.
  bool ready() const { return ready_.load(std::memory_order_acquire); }
  // By ascending begin, the first at 0. Only where ready. Throws what building them threw, as Composition does.
  const std::vector<CompositionSpan>& spans() const {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    return spans_;
  }

 private:
  friend class Compositions;
  std::vector<CompositionSpan> spans_;
  std::exception_ptr failure_;
  std::atomic<bool> ready_{false};
};

class Compositions {
 public:
  // `on_built` is called on the building thread whenever spans that were not ready at once have become so.
  Compositions(BaseModel base, std::function<void()> on_built) : base_(std::move(base)), on_built_(std::move(on_built)) {}
  ~Compositions() { shut_down(); }

  // Any thread. Ready at once where living compositions are equal: requests with equal adapters and scales share one, and their
  // rows form one segment. What nobody holds any more when its turn comes is not built.
  std::shared_ptr<const ComposedSpans> compose(const std::vector<RequestAdapter>& adapters);
  // Builds nothing more, and waits for what is being built. May be called again.
  void shut_down();

 private:
  struct Span {
    int32_t begin;
    std::vector<AppliedAdapter> applied;
  };
  struct Job {
    std::weak_ptr<ComposedSpans> result;
    std::vector<Span> spans;
  };
  void run();
  void build(const Job& job);
  // Null where none lives. The mutex is held.
  std::shared_ptr<const Composition> find(const std::vector<AppliedAdapter>& applied) const;
  bool find_all(const std::vector<Span>& wanted, std::vector<CompositionSpan>& spans) const;

  const BaseModel base_;
  const std::function<void()> on_built_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::weak_ptr<const Composition>> living_;  // those that some request holds
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;  // started by the first job
};

}  // namespace lowrank
