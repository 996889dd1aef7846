#include "engine/sequence.h"

#include <bit>

namespace lowrank {

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
