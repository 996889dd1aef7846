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

struct OpTable {
  Op<EmbedGatherArgs> embed_gather;
  Op<RmsNormQuantizeShrinkArgs> rmsnorm_quantize_shrink;
  Op<QuantizeShrinkArgs> quantize_shrink;
  Op<GluQuantizeShrinkArgs> glu_quantize_shrink;
  Op<MatmulExpandArgs> matmul_expand;
  Op<RopeAnglesArgs> rope_angles;
  Op<RopeWriteKvArgs> rope_write_kv;
  Op<AttentionPagedArgs> attention_paged;
  Op<RmsNormAddArgs> rmsnorm_add;
  Op<LogitsCandidatesArgs> logits_blocks;
  Op<LogitsCandidatesArgs> logits_candidates;
};

}  // namespace lowrank
