#include "cuda/graph_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cuda/status.h"
#if !defined(__CUDACC__)
#include "emulator/emulator.h"
#endif

namespace lowrank::cuda {
namespace {

constexpr size_t kSharedWithoutAsking = size_t{48} << 10;

class Hash {
 public:
  void add(uint64_t word) { state_ = std::rotl((state_ ^ word) * 0x9e3779b97f4a7c15u, 29); }
  void add(const void* data, size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (; bytes >= sizeof(uint64_t); at += sizeof(uint64_t), bytes -= sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, at, sizeof word);
      add(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, at, bytes);
    add(rest);
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0;
};

uint64_t hash_of(const Launches& launches) {
  Hash hash;
  for (const Launches::Launch& one : launches.all()) {
    hash.add(reinterpret_cast<uintptr_t>(one.kernel));
    hash.add(uint64_t{one.grid.x} << 32 | one.grid.y);
    hash.add(uint64_t{one.grid.z} << 32 | one.block.x);
    hash.add(uint64_t{one.block.y} << 32 | one.block.z);
    hash.add(one.shared_bytes);
    hash.add(launches.params_of(one), one.params_bytes);
  }
  return hash.value();
}

bool same(const dim3& a, const dim3& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

bool same(const std::vector<Launches::Launch>& known, const std::vector<unsigned char>& params, const Launches& launches) {
  return known.size() == launches.all().size() &&
         std::equal(known.begin(), known.end(), launches.all().begin(), [&](const auto& a, const auto& b) {
           return a.kernel == b.kernel && same(a.grid, b.grid) && same(a.block, b.block) && a.shared_bytes == b.shared_bytes &&
                  a.params_bytes == b.params_bytes &&
                  std::memcmp(params.data() + a.params_at, launches.params_of(b), a.params_bytes) == 0;
         });
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

void GraphCache::launch(const Launches& launches, cudaStream_t stream) {
  if (launches.all().empty()) return;
  for (const Launches::Launch& one : launches.all()) allow_shared(one);
  const uint64_t hash = hash_of(launches);
  Place place = find(hash, launches);
  if (place == entries_.end()) {
    if (seen_.size() >= kMostSeen) seen_.clear();
    if (seen_.insert(hash).second) return launch_each(launches, stream);
    place = build(hash, launches, stream);
  }
  entries_.splice(entries_.end(), entries_, place);
  check(cudaGraphLaunch(place->executable, stream), "launching a step");
  ++launched_;
}

GraphCache::Place GraphCache::find(uint64_t hash, const Launches& launches) {
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (same(at->second->launches, at->second->params, launches)) return at->second;
  return entries_.end();
}

GraphCache::Place GraphCache::build(uint64_t hash, const Launches& launches, cudaStream_t stream) {
  if (entries_.size() >= kMostGraphs) {
    const Place oldest = entries_.begin();
    const auto [first, last] = by_hash_.equal_range(oldest->hash);
    by_hash_.erase(std::find_if(first, last, [&](const auto& pair) { return pair.second == oldest; }));
    cudaGraphExecDestroy(oldest->executable);
    entries_.erase(oldest);
  }
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning the capture of a step");
  cudaError_t error = cudaSuccess;
  for (const Launches::Launch& one : launches.all())
    if (error == cudaSuccess) error = launch_kernel(launches, one, stream);
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  check(error, "capturing a kernel of a step");
  check(ended, "ending the capture of a step");
  Entry entry{hash, launches.all(), launches.params(), nullptr};
  error = cudaGraphInstantiate(&entry.executable, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "making a CUDA graph of a step");
  const Place place = entries_.insert(entries_.end(), std::move(entry));
  by_hash_.emplace(hash, place);
  ++built_;
  return place;
}

void GraphCache::launch_each(const Launches& launches, cudaStream_t stream) {
  for (const Launches::Launch& one : launches.all()) check(launch_kernel(launches, one, stream), "launching a kernel");
  kernels_ += launches.all().size();
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
