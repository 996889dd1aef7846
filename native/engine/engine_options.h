// How an engine runs a model, and what stands for options that are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kv_cache/kv_cache.h"
#include "model/model.h"

namespace lowrank {

struct EngineOptions {
  int threads = 0;             // 0: ThreadPool::default_threads()
  int32_t context_length = 0;  // tokens of one sequence; 0: what the model was trained for, at most kDefaultContextLength
  int32_t max_sequences = 8;   // that are computed at once; more wait
  int32_t max_waiting = 1024;  // requests beyond those; more are refused
  int32_t max_rows = 512;      // tokens of one step
  // Budget of keys and values; less than one context is refused. 0: max_sequences contexts, but at most a quarter of the host's
  // memory, or half of what a device has free, and at least one context.
  size_t kv_cache_bytes = 0;
  std::optional<KvFormat> kv_format = {};  // of keys and values, in place of that of the model's precision
};

inline constexpr int32_t kDefaultContextLength = 8192;

// The options in full: every 0 that stands for a default is replaced but that of kv_cache_bytes.
EngineOptions complete(EngineOptions options, const Model& model);

// The cache of an engine with complete options. Throws Error(kOutOfMemory) for a budget below one context.
KvCacheSpec kv_cache_spec(const Model& model, const EngineOptions& options);

}  // namespace lowrank
