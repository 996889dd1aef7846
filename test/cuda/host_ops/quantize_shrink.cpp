#include <algorithm>

#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {
namespace {

// Floats of `rows` rows of `width` at this stride, without what follows the last of them.
size_t extent(int32_t rows, int32_t stride, int32_t width) {
  return static_cast<size_t>(rows - 1) * static_cast<size_t>(stride) + static_cast<size_t>(width);
}

InputTransform on_device(HostCall& call, const InputTransform& input, int32_t cols) {
  InputTransform there = input;
  there.smoothing = call.in(input.smoothing, static_cast<size_t>(round_up(cols, kActivationAlignment)));
  there.outliers = call.in(input.outliers, static_cast<size_t>(input.outlier_count));
  return there;
}

// The copies that the three ops have in common; `there` is a copy of `args`.
template <class Args>
void copy_common(HostCall& call, const Args& args, Args& there) {
  there.input = on_device(call, args.input, args.out.cols);
  there.out = call.activations(args.out, args.rows);
  there.adapters = call.adapters(args.adapters, args.rows, args.out.cols, 0);
}

}  // namespace

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int part, int) {
  if (part != 0) return;
  HostCall call;
  RmsNormQuantizeShrinkArgs there = args;
  copy_common(call, args, there);
  const int32_t rows = args.row_index == nullptr ? args.rows : *std::max_element(args.row_index, args.row_index + args.rows) + 1;
  there.x = call.in(args.x, extent(rows, args.x_stride, args.out.cols));
  there.gain = call.in(args.gain, static_cast<size_t>(args.out.cols));
  call.run([&] { device::rmsnorm_quantize_shrink(there, 0, 1); });
}

void quantize_shrink(const QuantizeShrinkArgs& args, int part, int) {
  if (part != 0) return;
  HostCall call;
  QuantizeShrinkArgs there = args;
  copy_common(call, args, there);
  there.x = call.in(args.x, extent(args.rows, args.x_stride, args.out.cols));
  call.run([&] { device::quantize_shrink(there, 0, 1); });
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int part, int) {
  if (part != 0) return;
  HostCall call;
  GluQuantizeShrinkArgs there = args;
  copy_common(call, args, there);
  there.gate_up = call.in(args.gate_up, extent(args.rows, args.stride, 2 * args.out.cols));
  call.run([&] { device::glu_quantize_shrink(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
