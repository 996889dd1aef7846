#include "engine/compositions.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace lowrank {

std::vector<int32_t> span_begins(const std::vector<RequestAdapter>& adapters) {
  std::vector<int32_t> begins{0};
  for (const RequestAdapter& adapter : adapters) {
    begins.push_back(adapter.from_position);
    if (adapter.to_position != std::numeric_limits<int32_t>::max()) begins.push_back(adapter.to_position);
  }
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
  return begins;
}

bool active_at(const RequestAdapter& adapter, int32_t position) {
  return adapter.from_position <= position && position < adapter.to_position;
}

std::shared_ptr<const ComposedSpans> Compositions::compose(const std::vector<RequestAdapter>& adapters) {
  std::vector<Span> wanted;
  for (const int32_t begin : span_begins(adapters)) {
    wanted.push_back({begin, {}});
    for (const RequestAdapter& adapter : adapters)
      if (active_at(adapter, begin)) wanted.back().applied.push_back({adapter.adapter, adapter.scale});
  }
  auto result = std::make_shared<ComposedSpans>();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (find_all(wanted, result->spans_)) {
      result->ready_ = true;
      return result;
    }
    if (!thread_.joinable() && !stopping_) thread_ = std::thread([this] { run(); });
    jobs_.push_back({result, std::move(wanted)});
  }
  changed_.notify_one();
  return result;
}

void Compositions::shut_down() {
  std::thread thread;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    thread.swap(thread_);
  }
  changed_.notify_one();
  if (thread.joinable()) thread.join();
}

std::shared_ptr<const Composition> Compositions::find(const std::vector<AppliedAdapter>& applied) const {
  for (const auto& entry : living_) {
    auto composition = entry.lock();
    if (composition == nullptr) continue;
    const auto& other = composition->applied();
    const bool same = std::equal(applied.begin(), applied.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
      return a.adapter == b.adapter && a.scale == b.scale;
    });
    if (same) return composition;
  }
  return nullptr;
}

bool Compositions::find_all(const std::vector<Span>& wanted, std::vector<CompositionSpan>& spans) const {
  std::vector<CompositionSpan> found;
  for (const Span& span : wanted) {
    auto composition = span.applied.empty() ? nullptr : find(span.applied);
    if (composition == nullptr && !span.applied.empty()) return false;
    found.push_back({span.begin, std::move(composition)});
  }
  spans = std::move(found);
  return true;
}

void Compositions::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      build(job);
    }
    on_built_();
    lock.lock();
  }
}

void Compositions::build(const Job& job) {
  const auto result = job.result.lock();
  if (result == nullptr) return;
  try {
    for (const Span& span : job.spans) {
      std::shared_ptr<const Composition> composition;
      if (!span.applied.empty()) {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          composition = find(span.applied);
        }
        if (composition == nullptr) {
          composition = std::make_shared<const Composition>(span.applied, base_);
          const std::lock_guard<std::mutex> lock(mutex_);
          std::erase_if(living_, [](const auto& entry) { return entry.expired(); });
          living_.push_back(composition);
        }
      }
      result->spans_.push_back({span.begin, std::move(composition)});
    }
  } catch (...) {
    result->spans_.clear();
    result->failure_ = std::current_exception();
  }
  result->ready_.store(true, std::memory_order_release);
}

}  // namespace lowrank
