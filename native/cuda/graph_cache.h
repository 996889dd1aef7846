// CUDA graphs of steps that come again.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cuda/launches.h"
#include "device/plugin.h"

namespace lowrank::cuda {

// One for a stream; not for several threads at once. A step that comes for the first time is launched kernel by kernel: many,
// such as prompts of odd lengths, never come again, and building a graph costs more than a step. When it comes again it is made a
// graph, known by its ops with all their parameters: launches follow from these. The least recently used graph makes room for
// another.
class GraphCache {
 public:
  static constexpr size_t kMaxGraphs = 64;
  static constexpr size_t kMaxSeen = 4096;  // steps that are remembered by their hash alone

  explicit GraphCache(const DeviceFacts& device) : launches_(device) {}
  ~GraphCache();
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Throws Failure.
  void launch(const device::StepRecord& step, cudaStream_t stream);

  uint64_t kernels() const { return kernels_; }  // launched one at a time
  uint64_t built() const { return built_; }
  uint64_t launched() const { return launched_; }

 private:
  using Key = std::vector<unsigned char>;
  struct Entry {
    uint64_t hash;
    Key key;
    cudaGraphExec_t executable;
  };
  using Place = std::list<Entry>::iterator;
  Place find(uint64_t hash);
  Place build(uint64_t hash, cudaStream_t stream);
  void drop_oldest();
  void enqueue(const device::StepRecord& step);
  void launch_each(cudaStream_t stream);
  void allow_shared(const Launches::Launch& launch);

  Launches launches_;  // of the step at hand
  Key key_;
  std::list<Entry> entries_;  // least recently used first
  std::unordered_multimap<uint64_t, Place> by_hash_;
  std::unordered_set<uint64_t> seen_;
  std::unordered_map<const void*, size_t> shared_allowed_;  // bytes, by kernel
  uint64_t kernels_ = 0;
  uint64_t built_ = 0;
  uint64_t launched_ = 0;
};

}  // namespace lowrank::cuda
