// The device ops as tests call them: with arguments that point to the host's memory. Parts above 0 do nothing.
#pragma once

#include "ops/op_table.h"

namespace lowrank::test::host_ops {

void embed_gather(const EmbedGatherArgs& args, int part, int parts);
void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts);
void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts);
void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts);
void matmul_expand(const MatmulExpandArgs& args, int part, int parts);
void rope_angles(const RopeAnglesArgs& args, int part, int parts);
void rope_write_kv(const RopeWriteKvArgs& args, int part, int parts);
void attention_paged(const AttentionPagedArgs& args, int part, int parts);
void rmsnorm_add(const RmsNormAddArgs& args, int part, int parts);
void logits_blocks(const LogitsCandidatesArgs& args, int part, int parts);
void logits_candidates(const LogitsCandidatesArgs& args, int part, int parts);

const OpTable& op_table();

}  // namespace lowrank::test::host_ops
