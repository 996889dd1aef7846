#include "device/ops.h"

namespace lowrank::device {

const OpTable& device_ops() {
  static const OpTable table = [] {
    OpTable ops{};
#if __has_include("device/embed_gather.cpp")
    ops.embed_gather = embed_gather;
#endif
#if __has_include("device/quantize_shrink.cpp")
    ops.rmsnorm_quantize_shrink = rmsnorm_quantize_shrink;
    ops.quantize_shrink = quantize_shrink;
    ops.glu_quantize_shrink = glu_quantize_shrink;
#endif
#if __has_include("device/matmul_expand.cpp")
    ops.matmul_expand = matmul_expand;
#endif
#if __has_include("device/rope_write_kv.cpp")
    ops.rope_angles = rope_angles;
    ops.rope_write_kv = rope_write_kv;
#endif
#if __has_include("device/attention_paged.cpp")
    ops.attention_paged = attention_paged;
#endif
#if __has_include("device/rmsnorm_add.cpp")
    ops.rmsnorm_add = rmsnorm_add;
#endif
#if __has_include("device/logits_candidates.cpp")
    ops.logits_blocks = logits_blocks;
    ops.logits_candidates = logits_candidates;
#endif
    return ops;
  }();
  return table;
}

}  // namespace lowrank::device
