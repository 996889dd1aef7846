// The ops of one backend on one instruction set.
#pragma once

#include "ops/attention_paged.h"
#include "ops/embed_gather.h"
#include "ops/logits_candidates.h"
#include "ops/matmul_expand.h"
#include "ops/quantize_shrink.h"
#include "ops/rmsnorm_add.h"
#include "ops/rope_write_kv.h"

namespace lowrank {

template <class Args>
using Op = void (*)(const Args&, int part, int parts);

// Every op: its name and its arguments.
#define LOWRANK_EACH_OP(op)                                       \
  op(embed_gather, EmbedGatherArgs)                               \
  op(rmsnorm_quantize_shrink, RmsNormQuantizeShrinkArgs)          \
  op(quantize_shrink, QuantizeShrinkArgs)                         \
  op(glu_quantize_shrink, GluQuantizeShrinkArgs)                  \
  op(matmul_expand, MatmulExpandArgs)                             \
  op(rope_angles, RopeAnglesArgs)                                 \
  op(rope_write_kv, RopeWriteKvArgs)                              \
  op(attention_paged, AttentionPagedArgs)                         \
  op(rmsnorm_add, RmsNormAddArgs)                                 \
  op(logits_blocks, LogitsCandidatesArgs)                         \
  op(logits_candidates, LogitsCandidatesArgs)

#define LOWRANK_OP_FIELD(name, Args) Op<Args> name;
struct OpTable {
  LOWRANK_EACH_OP(LOWRANK_OP_FIELD)
};
#undef LOWRANK_OP_FIELD

// For a backend that writes all of them, in a namespace of its own: LOWRANK_EACH_OP(LOWRANK_DECLARE_OP), and
// OpTable{LOWRANK_EACH_OP(LOWRANK_OP_ENTRY)}.
#define LOWRANK_DECLARE_OP(name, Args) void name(const Args& args, int part, int parts);
#define LOWRANK_OP_ENTRY(name, Args) .name = name,

// The name of a function of the table, or null where it is none.
inline const char* op_name(const OpTable& ops, const void* function) {
#define LOWRANK_OP_NAME(name, Args) \
  if (reinterpret_cast<const void*>(ops.name) == function) return #name;
  LOWRANK_EACH_OP(LOWRANK_OP_NAME)
#undef LOWRANK_OP_NAME
  return nullptr;
}

}  // namespace lowrank
