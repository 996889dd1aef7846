#include "cpu/instruction_set.h"
#include "cpu/reference/ops.h"

namespace lowrank::cpu {

const OpTable& reference_ops() {
  static constexpr OpTable table = {
      .embed_gather = reference::embed_gather,
      .rmsnorm_quantize_shrink = reference::rmsnorm_quantize_shrink,
      .quantize_shrink = reference::quantize_shrink,
      .glu_quantize_shrink = reference::glu_quantize_shrink,
      .matmul_expand = reference::matmul_expand,
      .rope_angles = reference::rope_angles,
      .rope_write_kv = reference::rope_write_kv,
      .attention_paged = reference::attention_paged,
      .rmsnorm_add = reference::rmsnorm_add,
      .logits_blocks = reference::logits_blocks,
      .logits_candidates = reference::logits_candidates,
  };
  return table;
}

}  // namespace lowrank::cpu
