#include "cuda/graph_cache.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "cuda/dispatch.h"
#include "cuda/status.h"
#if !defined(__CUDACC__)
#include "emulator/emulator.h"
#endif

namespace lowrank::cuda {
namespace {

constexpr size_t kSharedWithoutAsking = size_t{48} << 10;

uint64_t hash_of(const std::vector<unsigned char>& key) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(key.data()), key.size()});
}

cudaError_t launch_kernel(const Launches& launches, const Launches::Launch& one, cudaStream_t stream) {
#if defined(__CUDACC__)
  void* arguments[] = {const_cast<void*>(launches.params_of(one))};
  return cudaLaunchKernel(one.kernel, one.grid, one.block, arguments, one.shared_bytes, stream);
#else
  return emulator::launch(one.kernel, one.call, one.grid, one.block, launches.params_of(one), one.params_bytes,
                          one.shared_bytes, stream);
#endif
}

}  // namespace

GraphCache::~GraphCache() {
  for (const Entry& entry : entries_) cudaGraphExecDestroy(entry.executable);
}

void GraphCache::launch(const device::StepRecord& step, cudaStream_t stream) {
  if (step.op_count == 0) return;
  key_.clear();
  for (size_t i = 0; i < step.op_count; ++i) {
    const device::OpRecord& op = step.ops[i];
    const uint32_t head[] = {static_cast<uint32_t>(op.code), op.params_bytes};
    const auto append = [&](const void* data, size_t bytes) {
      key_.insert(key_.end(), static_cast<const unsigned char*>(data), static_cast<const unsigned char*>(data) + bytes);
    };
    append(head, sizeof head);
    append(op.params, op.params_bytes);
  }
  const uint64_t hash = hash_of(key_);
  Place place = find(hash);
  if (place == entries_.end()) {
    enqueue(step);
    if (seen_.size() >= kMaxSeen) seen_.clear();
    if (seen_.insert(hash).second) return launch_each(stream);
    place = build(hash, stream);
  }
  entries_.splice(entries_.end(), entries_, place);
  check(cudaGraphLaunch(place->executable, stream), "launching a step");
  ++launched_;
}

// Of the key at hand.
GraphCache::Place GraphCache::find(uint64_t hash) {
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (at->second->key == key_) return at->second;
  return entries_.end();
}

GraphCache::Place GraphCache::build(uint64_t hash, cudaStream_t stream) {
  if (entries_.size() >= kMaxGraphs) drop_oldest();
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning the capture of a step");
  cudaError_t error = cudaSuccess;
  for (const Launches::Launch& one : launches_.all())
    if (error == cudaSuccess) error = launch_kernel(launches_, one, stream);
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  check(error, "capturing a kernel of a step");
  check(ended, "ending the capture of a step");
  Entry entry{hash, key_, nullptr};
  error = cudaGraphInstantiate(&entry.executable, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "making a CUDA graph of a step");
  const Place place = entries_.insert(entries_.end(), std::move(entry));
  by_hash_.emplace(hash, place);
  ++built_;
  return place;
}

void GraphCache::drop_oldest() {
  const Place oldest = entries_.begin();
  const auto [first, last] = by_hash_.equal_range(oldest->hash);
  by_hash_.erase(std::find_if(first, last, [&](const auto& pair) { return pair.second == oldest; }));
  cudaGraphExecDestroy(oldest->executable);
  entries_.erase(oldest);
}

void GraphCache::enqueue(const device::StepRecord& step) {
  launches_.clear();
  for (size_t i = 0; i < step.op_count; ++i) enqueue_op(launches_, step.ops[i]);
  for (const Launches::Launch& one : launches_.all()) allow_shared(one);
}

void GraphCache::launch_each(cudaStream_t stream) {
  for (const Launches::Launch& one : launches_.all()) check(launch_kernel(launches_, one, stream), "launching a kernel");
  kernels_ += launches_.all().size();
}

void GraphCache::allow_shared(const Launches::Launch& launch) {
  if (launch.shared_bytes <= kSharedWithoutAsking) return;
  size_t& allowed = shared_allowed_[launch.kernel];
  if (allowed >= launch.shared_bytes) return;
  check(cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(launch.shared_bytes)),
        std::to_string(launch.shared_bytes) + " bytes of shared memory for a kernel");
  allowed = launch.shared_bytes;
}

}  // namespace lowrank::cuda
