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

void Program::begin_chain(size_t needed) {
  if (sections_.empty() || sections_.back().chains == 0) sections_.push_back({chains_.size(), 0});
  ++sections_.back().chains;
  chains_.push_back({steps_.size(), steps_.size(), needed});
  in_chain_ = true;
}

void Program::run(int threads) {
  if (taken_.size() < sections_.size()) taken_ = std::vector<std::atomic<int>>(sections_.size());
  if (complete_.size() < chains_.size()) complete_ = std::vector<std::atomic<uint32_t>>(chains_.size());
  for (size_t i = 0; i < sections_.size(); ++i) taken_[i].store(0, std::memory_order_relaxed);
  for (size_t i = 0; i < chains_.size(); ++i) complete_[i].store(0, std::memory_order_relaxed);
  ThreadPool::process().run(
      threads,
      [](void* context, int part, int running, Barrier& barrier) {
        static_cast<Program*>(context)->work(part, running, barrier);
      },
      this);
}

void Program::work(int part, int running, Barrier& barrier) {
  for (size_t i = 0; i < sections_.size(); ++i) {
    const Section& section = sections_[i];
    if (section.chains > 0)
      run_chains(section, taken_[i], part, barrier);
    else
      run_op(steps_[section.first], taken_[i], part, running);
    if (running > 1) barrier.wait();
  }
}

void Program::run_op(const Step& step, std::atomic<int>& taken, int part, int running) {
  if (running == 1 || parts_per_thread_ == 1) {
    step.run(part, running);
    return;
  }
  const int parts = running * parts_per_thread_;
  for (int taken_part; (taken_part = taken.fetch_add(1, std::memory_order_relaxed)) < parts;) step.run(taken_part, parts);
}

void Program::run_chains(const Section& section, std::atomic<int>& taken, int thread, Barrier& barrier) {
  const size_t scratch_offset = static_cast<size_t>(thread) * thread_bytes_;
  size_t known = 0;  // so many are complete, as far as this thread has seen
  for (size_t chosen; (chosen = static_cast<size_t>(taken.fetch_add(1, std::memory_order_relaxed))) < section.chains;) {
    const Chain& chain = chains_[section.first + chosen];
    for (; known < chain.needed; ++known) barrier.wait_for(complete_[section.first + known]);
    for (size_t i = chain.begin; i < chain.end; ++i) steps_[i].run(0, 1, scratch_offset);
    complete_[section.first + chosen].store(1, std::memory_order_release);
    complete_[section.first + chosen].notify_all();
  }
}

void Program::run_step(size_t index, int threads) {
  ThreadPool::process().run(
      threads,
      [](void* context, int part, int parts, Barrier&) {
        const Step& step = *static_cast<const Step*>(context);
        step.run(part, parts);
      },
      &steps_[index]);
}

void Program::clear() {
  steps_.clear();
  sections_.clear();
  chains_.clear();
  in_chain_ = false;
  large_.clear();
  chunk_ = 0;
  used_ = 0;
  parts_per_thread_ = 1;
}

}  // namespace lowrank
