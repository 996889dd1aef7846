#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

void matmul_expand(const MatmulExpandArgs& args, int part, int) {
  if (part != 0) return;
  const int32_t rows = args.row_end;
  const int32_t columns = args.w->rows;
  // The last row of y and of the residual may end with the matrix.
  const size_t y_count = static_cast<size_t>(rows - 1) * static_cast<size_t>(args.y_stride) + static_cast<size_t>(columns);
  HostCall call;
  MatmulExpandArgs there = args;
  there.x = call.activations(args.x, rows);
  there.bias = call.in(args.bias, static_cast<size_t>(columns));
  there.residual = call.in(args.residual, y_count);
  there.y = call.in_out(args.y, y_count);
  there.adapters = call.adapters(args.adapters, rows, 0, columns);
  call.run([&] { device::matmul_expand(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
