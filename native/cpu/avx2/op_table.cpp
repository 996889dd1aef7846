#include "cpu/avx2/kernels.h"
#include "cpu/instruction_set.h"

namespace lowrank::cpu {

const OpTable& avx2_ops() {
  static const OpTable table = [] {
    OpTable ops = reference_ops();
    ops.rmsnorm_quantize_shrink = avx2::rmsnorm_quantize_shrink;
    ops.quantize_shrink = avx2::quantize_shrink;
    ops.glu_quantize_shrink = avx2::glu_quantize_shrink;
    ops.matmul_expand = avx2::matmul_expand;
    ops.rope_write_kv = avx2::rope_write_kv;
    ops.rmsnorm_add = avx2::rmsnorm_add;
    ops.logits_blocks = avx2::logits_blocks;
    ops.attention_paged = avx2::attention_paged;
    return ops;
  }();
  return table;
}

}  // namespace lowrank::cpu
