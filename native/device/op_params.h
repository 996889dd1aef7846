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

#define LOWRANK_OP_PARAMS_BYTES(name, Name) sizeof(Name##Params),
inline constexpr uint32_t kOpParamsBytes[kOpCodes] = {LOWRANK_INFERENCE_OPS(LOWRANK_OP_PARAMS_BYTES)};
#undef LOWRANK_OP_PARAMS_BYTES

}  // namespace lowrank::device
