// Normalise, gate, shrink and quantise (ops/quantize_shrink.h), by the shared loops of cpu/simd/ on 512-bit
// registers.
#include "cpu/avx512_vnni/kernels.h"
#include "cpu/avx512_vnni/vector.h"
#include "cpu/simd/quantize_sources.h"

namespace lowrank::cpu::avx512_vnni {

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int parts) {
  RmsNormSource<Avx512Vnni> source(args);
  quantize_rows<Avx512Vnni>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

void quantize_shrink(const QuantizeShrinkArgs& args, int part, int parts) {
  PlainSource<Avx512Vnni> source(args);
  quantize_rows<Avx512Vnni>({args.rows, args.input, args.out, args.adapters}, source, part, parts);
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int parts) {
  const QuantizeArgs quantize{args.rows, args.input, args.out, args.adapters};
  if (args.activation == Activation::kSilu) {
    GluSource<Avx512Vnni, Activation::kSilu> source(args);
    quantize_rows<Avx512Vnni>(quantize, source, part, parts);
  } else {
    GluSource<Avx512Vnni, Activation::kGeluTanh> source(args);
    quantize_rows<Avx512Vnni>(quantize, source, part, parts);
  }
}

}  // namespace lowrank::cpu::avx512_vnni
