// What stands for options that are left out: the same for whoever makes an engine.
#include "engine/engine_options.h"

#include <algorithm>
#include <thread>

#include "check.h"
#include "core/machine_memory.h"
#include "engine_case.h"

using namespace lowrank;
using namespace lowrank::test;

namespace {

std::unique_ptr<Model> tiny(Precision precision) {
  WeightsOptions options;
  options.precision = precision;
  return Model::load(tiny_path("tiny-models/llama"), cpu_backend("reference"), options);
}

}  // namespace

TEST("engine/engine_options: what is left out is the model's context, the machine's cores and all rows that sequences could have") {
  const auto model = tiny(Precision::kFloat32);
  const EngineOptions options = complete({}, *model);
  CHECK_EQ(options.context_length, std::min(model->config().trained_context, kDefaultContextLength));
  CHECK(options.threads >= 1);
  CHECK(options.threads <= static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  EngineOptions small;
  small.context_length = 5;
  small.max_sequences = 2;
  small.threads = 3;
  CHECK_EQ(complete(small, *model).context_length, 5);
  CHECK_EQ(complete(small, *model).max_rows, 10);
  CHECK_EQ(complete(small, *model).threads, 3);
}

TEST("engine/engine_options: keys and values take the contexts of all sequences, within a quarter of the memory, and one context at least") {
  const auto model = tiny(Precision::kFloat32);
  EngineOptions options;
  options.context_length = 64;
  options.max_sequences = 3;
  const int32_t context = pages_for(64);
  KvCacheSpec spec = kv_cache_spec(*model, complete(options, *model));
  CHECK_EQ(spec.max_pages, 3 * context);
  // More sequences than memory.
  const size_t page = kv_page_bytes(spec);
  const auto affordable = static_cast<int64_t>(machine_memory() / 4 / page);
  options.context_length = 1 << 24;
  options.max_sequences = 1024;
  spec = kv_cache_spec(*model, complete(options, *model));
  CHECK_EQ(spec.max_pages, std::max<int64_t>(pages_for(1 << 24), std::min<int64_t>(affordable, INT32_MAX)));
  // A budget that is given is kept, or refused.
  options.context_length = 64;
  options.kv_cache_bytes = page * static_cast<size_t>(context) + 1;
  CHECK_EQ(kv_cache_spec(*model, complete(options, *model)).max_pages, context);
  options.kv_cache_bytes = page * static_cast<size_t>(context) - 1;
  CHECK_THROWS_CODE(kv_cache_spec(*model, complete(options, *model)), ErrorCode::kOutOfMemory);
}

TEST("engine/engine_options: keys and values have the format of the precision, or one of their own") {
  for (const Precision precision : {Precision::kInt8, Precision::kW8Float32, Precision::kFloat32}) {
    const auto model = tiny(precision);
    EngineOptions options;
    CHECK(kv_cache_spec(*model, complete(options, *model)).format ==
          (precision == Precision::kInt8 ? KvFormat::kBFloat16 : KvFormat::kFloat32));
    for (const KvFormat format : {KvFormat::kBFloat16, KvFormat::kFloat32, KvFormat::kInt8}) {
      options.kv_format = format;
      CHECK(kv_cache_spec(*model, complete(options, *model)).format == format);
    }
  }
}
