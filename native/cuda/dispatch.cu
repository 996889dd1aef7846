#include "cuda/dispatch.h"

#include <cstring>
#include <string>

#include "cuda/attention_paged.h"
#include "cuda/embed_gather.h"
#include "cuda/logits_candidates.h"
#include "cuda/matmul_expand.h"
#include "cuda/quantize_shrink.h"
#include "cuda/rmsnorm_add.h"
#include "cuda/rope_write_kv.h"
#include "cuda/status.h"
#include "device/op_params.h"

namespace lowrank::cuda {
namespace {

using device::OpCode;

template <class Params>
void enqueue_as(Launches& launches, const device::OpRecord& op) {
  if (op.params_bytes != sizeof(Params))
    throw Failure{device::Status::kInvalidArgument,
                  "Expected " + std::to_string(sizeof(Params)) + " bytes of parameters for op " +
                      std::to_string(static_cast<uint32_t>(op.code)) + ", received " + std::to_string(op.params_bytes) + "."};
  Params params;
  std::memcpy(static_cast<void*>(&params), op.params, sizeof params);
  enqueue(launches, params);
}

}  // namespace

void enqueue_op(Launches& launches, const device::OpRecord& op) {
  switch (op.code) {
    case OpCode::kEmbedGather: return enqueue_as<device::EmbedGatherParams>(launches, op);
    case OpCode::kRmsNormQuantizeShrink: return enqueue_as<device::RmsNormQuantizeShrinkParams>(launches, op);
    case OpCode::kQuantizeShrink: return enqueue_as<device::QuantizeShrinkParams>(launches, op);
    case OpCode::kGluQuantizeShrink: return enqueue_as<device::GluQuantizeShrinkParams>(launches, op);
    case OpCode::kMatmulExpand: return enqueue_as<device::MatmulExpandParams>(launches, op);
    case OpCode::kRopeAngles: return enqueue_as<device::RopeAnglesParams>(launches, op);
    case OpCode::kRopeWriteKv: return enqueue_as<device::RopeWriteKvParams>(launches, op);
    case OpCode::kAttentionPaged: return enqueue_as<device::AttentionPagedParams>(launches, op);
    case OpCode::kRmsNormAdd: return enqueue_as<device::RmsNormAddParams>(launches, op);
    case OpCode::kLogitsBlocks: return enqueue_as<device::LogitsBlocksParams>(launches, op);
    case OpCode::kLogitsCandidates: return enqueue_as<device::LogitsCandidatesParams>(launches, op);
    default: break;
  }
  throw Failure{device::Status::kInvalidArgument,
                "Expected a known op for a step, received number " + std::to_string(static_cast<uint32_t>(op.code)) + "."};
}

}  // namespace lowrank::cuda
