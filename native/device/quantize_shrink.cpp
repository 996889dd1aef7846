#include "device/params/quantize_shrink.h"

#include <algorithm>

#include "device/ops.h"
#include "device/staging.h"
#include "device/storage.h"

namespace lowrank::device {
namespace {

constexpr size_t kMaxSumsBytes = size_t{32} << 20;

// The arrivals are the same for all ops of a step, each of which leaves them as it found them.
ShrinkSums shrink_sums(Recorder& recorder, const AdapterSegments& adapters, int32_t rows, int32_t cols) {
  if (adapters.count == nullptr || rows > kShrinkSharedRows || shrink_slices(cols) == 1) return {};
  const size_t bytes = sizeof(float) * static_cast<size_t>(shrink_slices(cols)) * static_cast<size_t>(rows) *
                       static_cast<size_t>(adapters.h_stride);
  if (bytes > kMaxSumsBytes) return {};
  static constexpr char kKey = 0;
  const Staged<int32_t> arrivals = recorder.stage_once<int32_t>(&kKey, kShrinkSharedRows);
  if (arrivals.host != nullptr) std::fill_n(arrivals.host, kShrinkSharedRows, 0);
  return {static_cast<float*>(recorder.workspace(bytes)), const_cast<int32_t*>(arrivals.device)};
}

}  // namespace

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const auto* row_index = recorder.upload(args.row_index, static_cast<size_t>(args.rows));
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kRmsNormQuantizeShrink,
               RmsNormQuantizeShrinkParams{args.x, row_index, args.gain, view_of(args.input), view_of(args.out), adapters,
                                           shrink_sums(recorder, adapters, args.rows, args.out.cols), args.x_stride, args.rows,
                                           args.epsilon});
}

void quantize_shrink(const QuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kQuantizeShrink,
               QuantizeShrinkParams{args.x, view_of(args.input), view_of(args.out), adapters,
                                    shrink_sums(recorder, adapters, args.rows, args.out.cols), args.x_stride, args.rows});
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kGluQuantizeShrink,
               GluQuantizeShrinkParams{args.gate_up, view_of(args.input), view_of(args.out), adapters,
                                       shrink_sums(recorder, adapters, args.rows, args.out.cols), args.stride, args.rows,
                                       args.activation});
}

}  // namespace lowrank::device
