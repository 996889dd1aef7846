#include <algorithm>

#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {
namespace {

// Pages of the cache up to the last that a row sees.
size_t pages_of(const AttentionPagedArgs& args) {
  int32_t last = 0;
  for (int32_t m = 0; m < args.rows; ++m)
    last = std::max(last, *std::max_element(args.block_tables[m], args.block_tables[m] + args.positions[m] / kPageTokens + 1));
  return static_cast<size_t>(last) + 1;
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args, int part, int) {
  if (part != 0) return;
  const auto rows = static_cast<size_t>(args.rows);
  const size_t pages = pages_of(args);
  const size_t bytes = pages * static_cast<size_t>(args.cache.page_elements) * kv_element_bytes(args.cache.format);
  const size_t scales = pages * static_cast<size_t>(args.cache.page_scales);
  HostCall call;
  AttentionPagedArgs there = args;
  there.q = call.in(args.q, rows * static_cast<size_t>(args.q_stride));
  there.cache.k = const_cast<uint8_t*>(call.in(static_cast<const uint8_t*>(args.cache.k), bytes));
  there.cache.v = const_cast<uint8_t*>(call.in(static_cast<const uint8_t*>(args.cache.v), bytes));
  there.cache.k_scale = args.cache.format == KvFormat::kInt8 ? const_cast<float*>(call.in(args.cache.k_scale, scales)) : nullptr;
  there.cache.v_scale = args.cache.format == KvFormat::kInt8 ? const_cast<float*>(call.in(args.cache.v_scale, scales)) : nullptr;
  there.out = call.in_out(args.out, rows * static_cast<size_t>(args.out_stride));
  call.run([&] { device::attention_paged(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
