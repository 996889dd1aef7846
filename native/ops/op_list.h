// Every op by name, in groups: what declares, numbers, dispatches and tests them. `op(name, Name)`: the function, and the word that its
// arguments (NameArgs of ops/<op>.h), a device's parameters (NameParams of device/params/<op>.h) and its op code (kName) begin with.
//
// A new op is a line here, its contract, and an implementation for each backend that must have it.
#pragma once

// What generates text: every backend has all of them. Their order is part of the interface between addon and plugin.
#define LOWRANK_INFERENCE_OPS(op)                     \
  op(embed_gather, EmbedGather)                       \
  op(rmsnorm_quantize_shrink, RmsNormQuantizeShrink)  \
  op(quantize_shrink, QuantizeShrink)                 \
  op(glu_quantize_shrink, GluQuantizeShrink)          \
  op(matmul_expand, MatmulExpand)                     \
  op(rope_angles, RopeAngles)                         \
  op(rope_write_kv, RopeWriteKv)                      \
  op(attention_paged, AttentionPaged)                 \
  op(rmsnorm_add, RmsNormAdd)                         \
  op(logits_blocks, LogitsBlocks)                     \
  op(logits_candidates, LogitsCandidates)

// What trains adapters: a backend may lack any of them, see Backend::training_ops.
#define LOWRANK_TRAINING_OPS(op) op(matmul_backward_input, MatmulBackwardInput)
