// The ops that are written for AVX-512 VNNI; op_table.cpp takes the others from the tables below.
#pragma once

#include "ops/op_table.h"

namespace lowrank::cpu::avx512_vnni {

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts);
void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts);
void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts);
void matmul_expand(const MatmulExpandArgs& args, int part, int parts);
void rope_write_kv(const RopeWriteKvArgs& args, int part, int parts);
void attention_paged(const AttentionPagedArgs& args, int part, int parts);
void rmsnorm_add(const RmsNormAddArgs& args, int part, int parts);
void logits_blocks(const LogitsCandidatesArgs& args, int part, int parts);

}  // namespace lowrank::cpu::avx512_vnni
