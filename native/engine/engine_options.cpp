#include "engine/engine_options.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/thread_pool.h"

namespace lowrank {
namespace {

int64_t default_kv_cache_bytes(const Backend& backend) {
  const uint64_t bytes = backend.available_memory() / (backend.shares_host_memory() ? 4 : 2);
  return static_cast<int64_t>(std::min<uint64_t>(bytes, std::numeric_limits<int64_t>::max()));
}

}  // namespace

EngineOptions complete(EngineOptions options, const Model& model) {
  if (options.threads == 0) options.threads = ThreadPool::default_threads();
  if (options.context_length == 0) options.context_length = std::min(model.config().trained_context, kDefaultContextLength);
  const int64_t all = int64_t{options.context_length} * options.max_sequences;
  options.max_rows = static_cast<int32_t>(std::min<int64_t>(options.max_rows, all));
  return options;
}

KvCacheSpec kv_cache_spec(const Model& model, const EngineOptions& options) {
  const ModelConfig& config = model.config();
  KvCacheSpec spec = {static_cast<int32_t>(config.layers.size()), config.kv_heads, config.head_dim,
                      options.kv_format.value_or(kv_format(model.precision())), 0};
  const int64_t context = pages_for(options.context_length);
  const auto page = static_cast<int64_t>(kv_page_bytes(spec));
  const bool given = options.kv_cache_bytes != 0;
  const int64_t affordable = (given ? static_cast<int64_t>(options.kv_cache_bytes) : default_kv_cache_bytes(model.backend())) / page;
  if (given && affordable < context)
    throw Error(ErrorCode::kOutOfMemory, "Expected a KV cache of at least " + std::to_string(context * page) +
                                             " bytes for a context of " + std::to_string(options.context_length) +
                                             " tokens, received " + std::to_string(options.kv_cache_bytes) +
                                             ". Give it more memory or load the model with a smaller contextLength.");
  const int64_t pages = std::min(context * options.max_sequences, std::max(context, affordable));
  spec.max_pages = static_cast<int32_t>(std::min<int64_t>(pages, std::numeric_limits<int32_t>::max()));
  return spec;
}

}  // namespace lowrank
