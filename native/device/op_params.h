// The parameters of every op, and their sizes: what addon and plugin must agree on.
#pragma once

#include <cstdint>

#include "device/op_code.h"
#include "device/params/attention_paged.h"
#include "device/params/embed_gather.h"
#include "device/params/logits_candidates.h"
#include "device/params/matmul_expand.h"
#include "device/params/quantize_shrink.h"
#include "device/params/rmsnorm_add.h"
#include "device/params/rope_write_kv.h"

namespace lowrank::device {

inline constexpr uint32_t kOpParamsBytes[kOpCodes] = {
    sizeof(EmbedGatherParams),
    sizeof(RmsNormQuantizeShrinkParams),
    sizeof(QuantizeShrinkParams),
    sizeof(GluQuantizeShrinkParams),
    sizeof(MatmulExpandParams),
    sizeof(RopeAnglesParams),
    sizeof(RopeWriteKvParams),
    sizeof(AttentionPagedParams),
    sizeof(RmsNormAddParams),
    sizeof(LogitsBlocksParams),
    sizeof(LogitsCandidatesParams),
};

}  // namespace lowrank::device
