#include <vector>

#include "device/ops.h"
#include "host_call.h"
#include "host_ops/ops.h"

namespace lowrank::test::host_ops {

// What it leaves for logits_candidates lives as long as a step, so both run in that one's.
void logits_blocks(const LogitsCandidatesArgs&, int, int) {}

void logits_candidates(const LogitsCandidatesArgs& args, int part, int) {
  if (part != 0) return;
  HostCall call;
  std::vector<LogitsRow> rows(args.rows, args.rows + args.row_count);
  for (LogitsRow& row : rows) row.logits = call.in(row.logits, static_cast<size_t>(args.vocabulary));
  const LogitsCandidatesArgs there = {rows.data(), args.row_count, args.vocabulary};
  call.run([&] {
    device::logits_blocks(there, 0, 1);
    device::logits_candidates(there, 0, 1);
  });
}

}  // namespace lowrank::test::host_ops
