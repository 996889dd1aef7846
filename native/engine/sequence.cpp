#include "engine/sequence.h"

#include <algorithm>

namespace lowrank {

std::shared_ptr<const Composition> CompositionCache::get(const std::vector<AppliedAdapter>& applied, const BaseModel& base) {
  if (applied.empty()) return nullptr;
  std::erase_if(live_, [](const auto& entry) { return entry.expired(); });
  for (const auto& entry : live_) {
    auto composition = entry.lock();
    if (composition == nullptr) continue;
    const auto& other = composition->applied();
    const bool same = std::equal(applied.begin(), applied.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
      return a.adapter == b.adapter && a.scale == b.scale;
    });
    if (same) return composition;
  }
  auto composition = std::make_shared<const Composition>(applied, base);
  live_.push_back(composition);
  return composition;
}

std::vector<CompositionSpan> CompositionCache::spans(const std::vector<RequestAdapter>& adapters, const BaseModel& base) {
  std::vector<int32_t> begins{0};
  for (const RequestAdapter& adapter : adapters) begins.push_back(adapter.from_position);
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
  std::vector<CompositionSpan> spans;
  for (const int32_t begin : begins) {
    std::vector<AppliedAdapter> applied;
    for (const RequestAdapter& adapter : adapters)
      if (adapter.from_position <= begin) applied.push_back({adapter.adapter, adapter.scale});
    spans.push_back({begin, get(applied, base)});
  }
  return spans;
}

}  // namespace lowrank
