// AVX2's op table with the int8 product by vpdpbusd on 256 bits, for vectors S that are Avx2 with what Int8DotKernel asks for.
#pragma once

#include "cpu/instruction_set.h"
#include "cpu/simd/matmul_int8.h"

namespace lowrank::cpu {

template <class S>
void dot_matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  if (args.w->activation == ActivationFormat::kInt8)
    multiply<S, Int8DotKernel<S>>(args, part, parts);
  else
    avx2_ops().matmul_expand(args, part, parts);
}

template <class S>
OpTable dot_table() {
  OpTable ops = avx2_ops();
  ops.matmul_expand = dot_matmul_expand<S>;
  return ops;
}

}  // namespace lowrank::cpu
