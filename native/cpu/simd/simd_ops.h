// Op tables of the loops of simd/, for vectors S of an instruction set (avx2/vector.h is one). S is a type of that set alone.
#pragma once

#include "cpu/simd/attention_paged.h"
#include "cpu/simd/logits_candidates.h"
#include "cpu/simd/matmul_backward_input.h"
#include "cpu/simd/matmul_float.h"
#include "cpu/simd/matmul_int8.h"
#include "cpu/simd/quantize_sources.h"
#include "cpu/simd/rmsnorm_add.h"
#include "cpu/simd/rope_write_kv.h"
#include "ops/op_table.h"

namespace lowrank::cpu::simd {

// The kernels of a set. Int8Kernel: see matmul_expand.h.
template <class S, class Int8Kernel>
const MatmulKernels& all_kernels() {
  static const MatmulKernels kernels = [] {
    MatmulKernels all;
    all.of(WeightFormat::kInt8, ActivationFormat::kInt8) = multiply<S, Int8Kernel>;
    all.of(WeightFormat::kInt8, ActivationFormat::kFloat32) = multiply<S, FloatKernel<S, Int8Weights>>;
    all.of(WeightFormat::kBFloat16, ActivationFormat::kFloat32) = multiply<S, FloatKernel<S, BFloat16Weights>>;
    all.of(WeightFormat::kFloat32, ActivationFormat::kFloat32) = multiply<S, FloatKernel<S, Float32Weights>>;
    return all;
  }();
  return kernels;
}

// Those of `base`, but for the int8 product by S::dot_bytes.
template <class S, const OpTable& (&base)()>
const MatmulKernels& dot_kernels() {
  static const MatmulKernels kernels = [] {
    MatmulKernels all = base().matmul_kernels;
    all.of(WeightFormat::kInt8, ActivationFormat::kInt8) = multiply<S, Int8DotKernel<S>>;
    return all;
  }();
  return kernels;
}

template <const MatmulKernels& (&kernels)()>
void matmul_expand(const MatmulExpandArgs& args, int part, int parts) {
  kernels().find(args.w->scheme)(args, part, parts);
}

template <class S>
void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts) {
  RmsNormSource<S> source(args);
  quantize_rows<S>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

template <class S>
void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts) {
  PlainSource<S> source(args);
  quantize_rows<S>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

template <class S>
void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts) {
  const QuantizeArgs quantize{args.rows, args.input, args.out, args.adapters};
  if (args.activation == Activation::kSilu) {
    GluSource<S, Activation::kSilu> source(args);
    quantize_rows<S>(quantize, source, part, parts);
  } else {
    GluSource<S, Activation::kGeluTanh> source(args);
    quantize_rows<S>(quantize, source, part, parts);
  }
}

// `base` with every op that simd/ has.
template <class S, class Int8Kernel = Int8DotKernel<S>>
OpTable all_ops(const OpTable& base) {
  OpTable ops = base;
  ops.rmsnorm_quantize_shrink = rmsnorm_quantize_shrink<S>;
  ops.quantize_shrink = quantize_shrink<S>;
  ops.glu_quantize_shrink = glu_quantize_shrink<S>;
  ops.matmul_kernels = all_kernels<S, Int8Kernel>();
  ops.matmul_expand = matmul_expand<all_kernels<S, Int8Kernel>>;
  ops.rope_write_kv = rotate_and_write<S>;
  ops.rmsnorm_add = add_to_residual<S>;
  ops.logits_blocks = reduce_logits<S>;
  ops.attention_paged = attend<S>;
  ops.training.matmul_backward_input = backward_input<S>;
  return ops;
}

// `base` with the int8 product by S::dot_bytes.
template <class S, const OpTable& (&base)()>
OpTable with_dot_product() {
  OpTable ops = base();
  ops.matmul_kernels = dot_kernels<S, base>();
  ops.matmul_expand = matmul_expand<dot_kernels<S, base>>;
  return ops;
}

}  // namespace lowrank::cpu::simd
