#include "engine/sequence.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace lowrank {
namespace {

// Where the adapters of a request change: ascending, the first at 0.
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

}  // namespace

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
  std::vector<CompositionSpan> spans;
  for (const int32_t begin : span_begins(adapters)) {
    std::vector<AppliedAdapter> applied;
    for (const RequestAdapter& adapter : adapters)
      if (active_at(adapter, begin)) applied.push_back({adapter.adapter, adapter.scale});
    spans.push_back({begin, get(applied, base)});
  }
  return spans;
}

PrefixContext prefix_context(const Request& request) {
  PrefixContext context;
  context.salt = request.cache_salt;
  for (const int32_t begin : span_begins(request.adapters)) {
    std::string adapters;
    for (const RequestAdapter& adapter : request.adapters)
      if (active_at(adapter, begin))
        adapters += adapter.adapter->content + "*" + std::to_string(std::bit_cast<uint32_t>(adapter.scale)) + ";";
    context.spans.push_back({begin, std::move(adapters)});
  }
  return context;
}

}  // namespace lowrank
