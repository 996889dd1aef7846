#include <algorithm>

#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

void rope_angles(const RopeAnglesArgs& args, int part, int) {
  if (part != 0) return;
  const auto half = static_cast<size_t>(args.half_dim);
  const size_t angles = static_cast<size_t>(args.rows) * half;
  HostCall call;
  RopeAnglesArgs there = args;
  there.frequencies = call.in(args.frequencies, half);
  there.cosine = call.in_out(args.cosine, angles);
  there.sine = call.in_out(args.sine, angles);
  call.run([&] { device::rope_angles(there, 0, 1); });
}

void rope_write_kv(const RopeWriteKvArgs& args, int part, int) {
  if (part != 0) return;
  const auto rows = static_cast<size_t>(args.rows);
  const auto dim = static_cast<size_t>(args.head_dim);
  const auto width = static_cast<size_t>(args.heads + 2 * args.kv_heads) * dim;
  HostCall call;
  RopeWriteKvArgs there = args;
  there.qkv = call.in_out(args.qkv, (rows - 1) * static_cast<size_t>(args.stride) + width);
  there.cosine = call.in(args.cosine, rows * dim / 2);
  there.sine = call.in(args.sine, rows * dim / 2);
  const size_t q_gain = args.joint_norms ? static_cast<size_t>(args.heads) * dim : dim;
  const size_t k_gain = args.joint_norms ? static_cast<size_t>(args.kv_heads) * dim : dim;
  there.q_norm = call.in(args.q_norm, q_gain);
  there.k_norm = call.in(args.k_norm, k_gain);
  there.q_norm_rows = call.in_each(args.q_norm_rows, rows, q_gain);
  there.k_norm_rows = call.in_each(args.k_norm_rows, rows, k_gain);

  // As many pages as the rows write to.
  int32_t last_page = 0;
  for (int32_t m = 0; m < args.rows; ++m)
    last_page = std::max(last_page, args.block_tables[m][args.positions[m] / kPageTokens]);
  const auto pages = static_cast<size_t>(last_page) + 1;
  const size_t bytes = pages * static_cast<size_t>(args.cache.page_elements) * kv_element_bytes(args.cache.format);
  const size_t scales = pages * static_cast<size_t>(args.cache.page_scales);
  there.cache.k = call.in_out(static_cast<uint8_t*>(args.cache.k), bytes);
  there.cache.v = call.in_out(static_cast<uint8_t*>(args.cache.v), bytes);
  there.cache.k_scale = call.in_out(args.cache.k_scale, scales);
  there.cache.v_scale = call.in_out(args.cache.v_scale, scales);
  call.run([&] { device::rope_write_kv(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
