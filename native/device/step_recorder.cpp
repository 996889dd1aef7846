#include "device/step_recorder.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace lowrank::device {
namespace {

constexpr size_t kAlignment = 256;  // of a piece, as of the device's own allocations
constexpr size_t kHostChunk = size_t{256} << 10;
constexpr size_t kWorkspaceChunk = size_t{4} << 20;

constexpr size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// What was kept for `key`, or null. A later call may ask for less, never for more.
template <class Map>
void* kept_for(const Map& map, const void* key, size_t bytes) {
  const auto found = map.find(key);
  if (found == map.end()) return nullptr;
  if (found->second.bytes < bytes)
    throw Error(ErrorCode::kInternal, "Expected at most " + std::to_string(found->second.bytes) +
                                          " bytes for what a step has staged before, received " + std::to_string(bytes) + ".");
  return found->second.device;
}

}  // namespace

StepMemory::Piece StepMemory::take(size_t bytes) {
  const size_t size = std::max(aligned(bytes), kAlignment);
  while (at_ < chunks_.size() && chunks_[at_].device.bytes() - chunks_[at_].used < size) ++at_;
  if (at_ == chunks_.size()) {
    Chunk chunk{{}, device_.allocate_uncleared(std::max(size, chunk_bytes_)), 0};
    if (kind_ == Kind::kPaired) chunk.host = device_.allocate_host(chunk.device.bytes());
    chunks_.push_back(std::move(chunk));
  }
  Chunk& chunk = chunks_[at_];
  const size_t begin = chunk.used;
  chunk.used += size;
  return {kind_ == Kind::kPaired ? chunk.host.as<uint8_t>() + begin : nullptr, chunk.device.as<uint8_t>() + begin};
}

void StepMemory::clear() {
  for (Chunk& chunk : chunks_) chunk.used = 0;
  at_ = 0;
}

std::vector<HostCopy> StepMemory::used() const {
  std::vector<HostCopy> copies;
  for (const Chunk& chunk : chunks_)
    if (chunk.used != 0) copies.push_back({chunk.host.as<void>(), chunk.device.as<void>(), chunk.used});
  return copies;
}

StepRecorder::StepRecorder(OpenDevice& device)
    : device_(device),
      staged_(device, StepMemory::Kind::kPaired, kHostChunk),
      downloaded_(device, StepMemory::Kind::kPaired, kHostChunk),
      workspace_(device, StepMemory::Kind::kDevice, kWorkspaceChunk) {}

void StepRecorder::clear() {
  staged_.clear();
  downloaded_.clear();
  workspace_.clear();
  keyed_.clear();
  downloads_at_.clear();
  downloads_.clear();
  ops_.clear();
  params_.clear();
}

void StepRecorder::run(bool after_uploads) {
  const std::vector<HostCopy> in = staged_.used();
  const std::vector<HostCopy> out = downloaded_.used();
  std::vector<OpRecord> records;
  records.reserve(ops_.size());
  for (const Op& op : ops_)
    records.push_back({op.code, static_cast<uint32_t>(op.params_bytes), params_.data() + op.params_at});
  device_.run({in.data(), in.size(), records.data(), records.size(), out.data(), out.size(), after_uploads ? 1 : 0});
  for (const Download& one : downloads_) std::memcpy(one.to, one.from, one.bytes);
}

void* StepRecorder::workspace(size_t bytes) { return workspace_.take(bytes).device; }

Recorder::Room StepRecorder::stage_bytes(size_t bytes, const void* key) {
  if (key != nullptr)
    if (void* kept = kept_for(keyed_, key, bytes)) return {nullptr, kept};
  const StepMemory::Piece piece = staged_.take(bytes);
  if (key != nullptr) keyed_.emplace(key, Kept{piece.device, bytes});
  return {piece.host, piece.device};
}

void* StepRecorder::download_bytes(size_t bytes, void* host) {
  if (void* kept = kept_for(downloads_at_, host, bytes)) return kept;
  const StepMemory::Piece piece = downloaded_.take(bytes);
  downloads_at_.emplace(host, Kept{piece.device, bytes});
  downloads_.push_back({host, piece.host, bytes});
  return piece.device;
}

void StepRecorder::add_op(OpCode code, const void* params, size_t bytes) {
  constexpr size_t kParamsAlignment = 16;
  const size_t at = params_.size();
  params_.resize(at + (bytes + kParamsAlignment - 1) / kParamsAlignment * kParamsAlignment);
  std::memcpy(params_.data() + at, params, bytes);
  ops_.push_back({code, at, bytes});
  workspace_.clear();
}

}  // namespace lowrank::device
