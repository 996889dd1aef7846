// The parameters of every op, and their sizes: what addon and plugin must agree on.
#pragma once

#include <cstdint>

#include "device/op_code.h"
#if __has_include("device/params/attention_paged.h")
#include "device/params/attention_paged.h"
#endif
#if __has_include("device/params/embed_gather.h")
#include "device/params/embed_gather.h"
#endif
#if __has_include("device/params/logits_candidates.h")
#include "device/params/logits_candidates.h"
#endif
#if __has_include("device/params/matmul_expand.h")
#include "device/params/matmul_expand.h"
#endif
#if __has_include("device/params/quantize_shrink.h")
#include "device/params/quantize_shrink.h"
#endif
#if __has_include("device/params/rmsnorm_add.h")
#include "device/params/rmsnorm_add.h"
#endif
#if __has_include("device/params/rope_write_kv.h")
#include "device/params/rope_write_kv.h"
#endif

namespace lowrank::device {

inline constexpr uint32_t kOpParamsBytes[kOpCodes] = {
#if __has_include("device/params/embed_gather.h")
    sizeof(EmbedGatherParams),
#else
    0,
#endif
#if __has_include("device/params/quantize_shrink.h")
    sizeof(RmsNormQuantizeShrinkParams),
    sizeof(QuantizeShrinkParams),
    sizeof(GluQuantizeShrinkParams),
#else
    0, 0, 0,
#endif
#if __has_include("device/params/matmul_expand.h")
    sizeof(MatmulExpandParams),
#else
    0,
#endif
#if __has_include("device/params/rope_write_kv.h")
    sizeof(RopeAnglesParams),
    sizeof(RopeWriteKvParams),
#else
    0, 0,
#endif
#if __has_include("device/params/attention_paged.h")
    sizeof(AttentionPagedParams),
#else
    0,
#endif
#if __has_include("device/params/rmsnorm_add.h")
    sizeof(RmsNormAddParams),
#else
    0,
#endif
#if __has_include("device/params/logits_candidates.h")
    sizeof(LogitsBlocksParams),
    sizeof(LogitsCandidatesParams),
#else
    0, 0,
#endif
};

}  // namespace lowrank::device
