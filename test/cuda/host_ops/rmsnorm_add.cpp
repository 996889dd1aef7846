#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

void rmsnorm_add(const RmsNormAddArgs& args, int part, int) {
  if (part != 0) return;
  const auto rows = static_cast<size_t>(args.rows);
  const auto width = static_cast<size_t>(args.width);
  HostCall call;
  RmsNormAddArgs there = args;
  there.y = call.in(args.y, rows * width);
  there.x = call.in_out(args.x, rows * width);
  there.gain = call.in(args.gain, width);
  there.gain_rows = call.in_each(args.gain_rows, rows, width);
  call.run([&] { device::rmsnorm_add(there, 0, 1); });
}

}  // namespace lowrank::test::host_ops
