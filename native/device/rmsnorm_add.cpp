#include "device/params/rmsnorm_add.h"

#include "device/ops.h"
#include "device/recorder.h"

namespace lowrank::device {

void rmsnorm_add(const RmsNormAddArgs& args, int, int) {
  Recorder& recorder = Recorder::current();
  const auto* gain_rows = recorder.upload(args.gain_rows, static_cast<size_t>(args.rows));
  recorder.add(OpCode::kRmsNormAdd,
               RmsNormAddParams{args.y, args.x, args.gain, gain_rows, args.rows, args.width, args.epsilon,
                                args.multiplier});
}

}  // namespace lowrank::device
