#include "device/params/quantize_shrink.h"

#include "device/ops.h"
#include "device/staging.h"
#include "device/storage.h"

namespace lowrank::device {

void rmsnorm_quantize_shrink(const RmsNormQuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const auto* row_index = recorder.upload(args.row_index, static_cast<size_t>(args.rows));
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kRmsNormQuantizeShrink,
               RmsNormQuantizeShrinkParams{args.x, row_index, args.gain, view_of(args.input), view_of(args.out), adapters,
                                           args.x_stride, args.rows, args.epsilon});
}

void quantize_shrink(const QuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kQuantizeShrink, QuantizeShrinkParams{args.x, view_of(args.input), view_of(args.out), adapters,
                                                             args.x_stride, args.rows});
}

void glu_quantize_shrink(const GluQuantizeShrinkArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const AdapterSegments adapters = stage_segments(recorder, args.adapters, args.rows);
  recorder.add(OpCode::kGluQuantizeShrink, GluQuantizeShrinkParams{args.gate_up, view_of(args.input), view_of(args.out),
                                                                   adapters, args.stride, args.rows, args.activation});
}

}  // namespace lowrank::device
