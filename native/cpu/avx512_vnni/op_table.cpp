#include "cpu/avx512_vnni/kernels.h"
#include "cpu/instruction_set.h"

namespace lowrank::cpu {

const OpTable& avx512_vnni_ops() {
  static const OpTable table = [] {
    OpTable ops = reference_ops();
    ops.rmsnorm_quantize_shrink = avx512_vnni::rmsnorm_quantize_shrink;
    ops.quantize_shrink = avx512_vnni::quantize_shrink;
    ops.glu_quantize_shrink = avx512_vnni::glu_quantize_shrink;
    ops.matmul_expand = avx512_vnni::matmul_expand;
    ops.rope_write_kv = avx512_vnni::rope_write_kv;
    ops.rmsnorm_add = avx512_vnni::rmsnorm_add;
    ops.logits_blocks = avx512_vnni::logits_blocks;
    ops.attention_paged = avx512_vnni::attention_paged;
    return ops;
  }();
  return table;
}

}  // namespace lowrank::cpu
