// Normalise, gate, shrink and quantise (ops/quantize_shrink.h), by the shared loops of cpu/simd/ on pairs of
// 256-bit registers.
#include "cpu/avx2/kernels.h"
#include "cpu/avx2/vector.h"
#include "cpu/simd/quantize_sources.h"

namespace lowrank::cpu::avx2 {

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts) {
  RmsNormSource<Avx2> source(args);
  quantize_rows<Avx2>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts) {
  PlainSource<Avx2> source(args);
  quantize_rows<Avx2>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts) {
  const QuantizeArgs quantize{args.rows, args.input, args.out, args.adapters};
  if (args.activation == Activation::kSilu) {
    GluSource<Avx2, Activation::kSilu> source(args);
    quantize_rows<Avx2>(quantize, source, part, parts);
  } else {
    GluSource<Avx2, Activation::kGeluTanh> source(args);
    quantize_rows<Avx2>(quantize, source, part, parts);
  }
}

}  // namespace lowrank::cpu::avx2
