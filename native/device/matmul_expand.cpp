#include "device/params/matmul_expand.h"

#include "device/ops.h"
#include "device/staging.h"
#include "device/storage.h"

namespace lowrank::device {

void matmul_expand(const MatmulExpandArgs& args, int, int) {
  if (args.row_begin >= args.row_end) return;
  Recorder& recorder = Recorder::current();
  MatmulExpandParams params{};
  params.x = view_of(args.x);
  params.w = view_of(*args.w);
  params.row_begin = args.row_begin;
  params.row_end = args.row_end;
  params.bias = args.bias;
  params.residual = args.residual;
  params.y = args.y;
  params.y_stride = args.y_stride;
  params.adapters = stage_segments(recorder, args.adapters, args.row_end);
  params.soft_cap = args.soft_cap;
  recorder.add(OpCode::kMatmulExpand, params);
}

}  // namespace lowrank::device
