#include "device/params/rope_write_kv.h"

#include "device/ops.h"
#include "device/staging.h"

namespace lowrank::device {

void rope_angles(const RopeAnglesArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const int32_t* positions = recorder.upload(args.positions, static_cast<size_t>(args.rows));
  recorder.add(OpCode::kRopeAngles, RopeAnglesParams{positions, args.frequencies, args.cosine, args.sine, args.rows,
                                                     args.half_dim, args.attention_factor});
}

void rope_write_kv(const RopeWriteKvArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const auto rows = static_cast<size_t>(args.rows);
  const auto* q_norm_rows = recorder.upload(args.q_norm_rows, rows);
  const auto* k_norm_rows = recorder.upload(args.k_norm_rows, rows);
  const BlockTables tables = stage_tables(recorder, args.block_tables, args.positions, args.rows);
  recorder.add(OpCode::kRopeWriteKv,
               RopeWriteKvParams{args.qkv, args.cosine, args.sine, args.q_norm, args.k_norm, q_norm_rows, k_norm_rows, tables,
                                 args.cache, args.stride, args.rows, args.heads, args.kv_heads, args.head_dim,
                                 args.norm_epsilon, args.joint_norms ? 1 : 0});
}

}  // namespace lowrank::device
