// The ops of one backend on one instruction set.
#pragma once

#include "ops/attention_paged.h"
#include "ops/embed_gather.h"
#include "ops/logits_candidates.h"
#include "ops/matmul_expand.h"
#include "ops/matmul_kernels.h"
#include "ops/op_list.h"
#include "ops/quantize_shrink.h"
#include "ops/rmsnorm_add.h"
#include "ops/rope_write_kv.h"

namespace lowrank {

#define LOWRANK_OP_FIELD(name, Name) Op<Name##Args> name;
#define LOWRANK_OPTIONAL_OP_FIELD(name, Name) Op<Name##Args> name = nullptr;

struct TrainingOps {
  LOWRANK_TRAINING_OPS(LOWRANK_OPTIONAL_OP_FIELD)
  bool operator==(const TrainingOps&) const = default;
};

struct OpTable {
  LOWRANK_INFERENCE_OPS(LOWRANK_OP_FIELD)
  MatmulKernels matmul_kernels = {};  // that matmul_expand chooses from
  TrainingOps training = {};
};

#undef LOWRANK_OP_FIELD
#undef LOWRANK_OPTIONAL_OP_FIELD

// For a backend that writes a whole group, in a namespace of its own: LOWRANK_INFERENCE_OPS(LOWRANK_DECLARE_OP), and
// OpTable{LOWRANK_INFERENCE_OPS(LOWRANK_OP_ENTRY)}.
#define LOWRANK_DECLARE_OP(name, Name) void name(const Name##Args& args, int part, int parts);
#define LOWRANK_OP_ENTRY(name, Name) .name = name,

// The name of a function of the table, or null where it is none.
inline const char* op_name(const OpTable& ops, const void* function) {
  if (function == nullptr) return nullptr;
#define LOWRANK_OP_NAME(name, Name) \
  if (reinterpret_cast<const void*>(ops.name) == function) return #name;
  LOWRANK_INFERENCE_OPS(LOWRANK_OP_NAME)
#undef LOWRANK_OP_NAME
#define LOWRANK_OP_NAME(name, Name) \
  if (reinterpret_cast<const void*>(ops.training.name) == function) return #name;
  LOWRANK_TRAINING_OPS(LOWRANK_OP_NAME)
#undef LOWRANK_OP_NAME
  return nullptr;
}

}  // namespace lowrank
