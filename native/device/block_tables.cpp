#include "device/staging.h"
#include "ops/rope_write_kv.h"

namespace lowrank::device {
namespace {

constexpr size_t kFewPages = 1024;

struct Run {
  int32_t end;   // of rows, consecutive, with one block table
  size_t pages;  // of it, as far as these rows see
};

Run run_at(const int32_t* const* block_tables, const int32_t* positions, int32_t rows, int32_t begin) {
  int32_t last = positions[begin];
  int32_t end = begin + 1;
  for (; end < rows && block_tables[end] == block_tables[begin]; ++end) last = std::max(last, positions[end]);
  return {end, static_cast<size_t>(last / kPageTokens) + 1};
}

}  // namespace

BlockTables stage_tables(Recorder& recorder, const int32_t* const* block_tables, const int32_t* positions, int32_t rows) {
  const int32_t* staged_positions = recorder.upload(positions, static_cast<size_t>(rows));
  size_t pages = 0;
  for (int32_t m = 0; m < rows;) {
    const Run run = run_at(block_tables, positions, rows, m);
    pages += run.pages;
    m = run.end;
  }
  const auto count = static_cast<size_t>(rows);
  const Staged<int32_t> block = recorder.stage_once<int32_t>(block_tables, count + room_for(pages, kFewPages));
  const BlockTables tables = {staged_positions, block.device, block.device + count};
  if (block.host == nullptr) return tables;
  int32_t* page = block.host + count;
  for (int32_t m = 0; m < rows;) {
    const Run run = run_at(block_tables, positions, rows, m);
    std::fill(block.host + m, block.host + run.end, static_cast<int32_t>(page - block.host - rows));
    page = std::copy_n(block_tables[m], run.pages, page);
    m = run.end;
  }
  return tables;
}

}  // namespace lowrank::device
