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
#define LOWRANK_ENQUEUE(name, Name) \
  case device::OpCode::k##Name: return enqueue_as<device::Name##Params>(launches, op);
  switch (op.code) {
    LOWRANK_INFERENCE_OPS(LOWRANK_ENQUEUE)
    default: break;
  }
#undef LOWRANK_ENQUEUE
  throw Failure{device::Status::kInvalidArgument,
                "Expected a known op for a step, received number " + std::to_string(static_cast<uint32_t>(op.code)) + "."};
}

}  // namespace lowrank::cuda
