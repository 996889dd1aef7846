// The rows of one step: tokens of any number of sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "lora/composition.h"

namespace lowrank {

// Consecutive rows that run with the same adapters.
struct RowSegment {
  int32_t begin;
  int32_t end;
  const Composition* composition;
};

struct Batch {
  std::vector<int32_t> tokens;               // [M]
  std::vector<int32_t> positions;            // [M], absolute
  std::vector<const int32_t*> block_tables;  // [M]
  std::vector<RowSegment> segments;          // ascending, disjoint; rows in none run with the base alone

  int32_t rows() const { return static_cast<int32_t>(tokens.size()); }
  void clear() {
    tokens.clear();
    positions.clear();
    block_tables.clear();
    segments.clear();
  }
};

}  // namespace lowrank
