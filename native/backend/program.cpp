#include "backend/program.h"

namespace lowrank {

void* Program::allocate_bytes(size_t bytes) {
  bytes = (bytes + 15) / 16 * 16;
  if (bytes > kChunk) {
    large_.push_back(std::make_unique<uint8_t[]>(bytes));
    return large_.back().get();
  }
  if (chunks_.empty()) chunks_.push_back(std::make_unique<uint8_t[]>(kChunk));
  if (used_ + bytes > kChunk) {
    if (++chunk_ == chunks_.size()) chunks_.push_back(std::make_unique<uint8_t[]>(kChunk));
    used_ = 0;
  }
  void* block = chunks_[chunk_].get() + used_;
  used_ += bytes;
  return block;
}

void Program::run(int threads) {
  if (threads > 1 && parts_per_thread_ > 1) return run_shared(threads);
  ThreadPool::process().run(
      threads,
      [](void* context, int part, int parts, Barrier& barrier) {
        const auto& steps = static_cast<Program*>(context)->steps_;
        for (const Step& step : steps) {
          step.call(step.op, step.args, part, parts);
          if (parts > 1) barrier.wait();
        }
      },
      this);
}

void Program::run_shared(int threads) {
  if (taken_size_ < steps_.size()) {
    taken_size_ = steps_.size();
    taken_ = std::make_unique<std::atomic<int>[]>(taken_size_);
  }
  for (size_t i = 0; i < steps_.size(); ++i) taken_[i].store(0, std::memory_order_relaxed);
  ThreadPool::process().run(
      threads,
      [](void* context, int, int running, Barrier& barrier) {
        const auto& self = *static_cast<Program*>(context);
        const int parts = running * self.parts_per_thread_;
        for (size_t i = 0; i < self.steps_.size(); ++i) {
          const Step& step = self.steps_[i];
          for (int part; (part = self.taken_[i].fetch_add(1, std::memory_order_relaxed)) < parts;)
            step.call(step.op, step.args, part, parts);
          barrier.wait();
        }
      },
      this);
}

void Program::run_step(size_t index, int threads) {
  ThreadPool::process().run(
      threads,
      [](void* context, int part, int parts, Barrier&) {
        const Step& step = *static_cast<const Step*>(context);
        step.call(step.op, step.args, part, parts);
      },
      &steps_[index]);
}

void Program::clear() {
  steps_.clear();
  large_.clear();
  chunk_ = 0;
  used_ = 0;
  parts_per_thread_ = 1;
}

}  // namespace lowrank
