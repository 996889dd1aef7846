#include "device/ops.h"

namespace lowrank::device {

const OpTable& device_ops() {
  static constexpr OpTable table = {
      .embed_gather = embed_gather,
      .rmsnorm_quantize_shrink = rmsnorm_quantize_shrink,
      .quantize_shrink = quantize_shrink,
      .glu_quantize_shrink = glu_quantize_shrink,
      .matmul_expand = matmul_expand,
      .rope_angles = rope_angles,
      .rope_write_kv = rope_write_kv,
      .attention_paged = attention_paged,
      .rmsnorm_add = rmsnorm_add,
      .logits_blocks = logits_blocks,
      .logits_candidates = logits_candidates,
  };
  return table;
}

}  // namespace lowrank::device
