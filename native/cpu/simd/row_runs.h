// Consecutive rows that the ops may treat alike: those of one adapter segment, or those between two segments.
#pragma once

#include <cstdint>

#include "cpu/simd/force_inline.h"
#include "ops/types.h"

namespace lowrank::cpu {

struct RowRun {
  int32_t end;                 // the first row behind the run
  const AdapterRows* segment;  // null: no adapter
};

// The run that starts at row m, cut at row `limit`. `cursor` starts at 0 and is carried along while m
// ascends.
static LOWRANK_INLINE RowRun row_run(const AdapterSegments& adapters, int32_t& cursor, int32_t m,
                                     int32_t limit) {
  while (cursor < adapters.count && adapters.rows[cursor].row_end <= m) ++cursor;
  if (cursor == adapters.count) return {limit, nullptr};
  const AdapterRows& next = adapters.rows[cursor];
  const bool inside = next.row_begin <= m;
  const int32_t end = inside ? next.row_end : next.row_begin;
  return {end < limit ? end : limit, inside ? &next : nullptr};
}

}  // namespace lowrank::cpu
